"""The budget that the streams of a node share (SPEC §3.10)."""

from __future__ import annotations

from sse_domain.bounds import Budget, Caps
from sse_domain.cursor import Positions
from sse_domain.delivery import Delivery, State
from sse_domain.message import BROADCAST, Priority
from sse_domain.subscription import Audience
from tests.unit.domain.store import Store, draft

ROOMY = Caps(waiting_messages=100, waiting_bytes=10_000, page_messages=3, page_bytes=40)


def sharing(budget: Budget, store: Store, start: Positions) -> Delivery:
    audience = Audience(client_id=None, subscriptions={})
    return Delivery(audience, start, len(store.log), ROOMY, budget)


def test_streams_share_a_budget_and_past_it_fall_back_to_the_log() -> None:
    store, budget = Store(), Budget(3)
    first, second = sharing(budget, store, Positions.level(0)), sharing(budget, store, Positions.level(0))
    for _ in range(3):
        first.offer(store.accept(draft(BROADCAST)))
    assert (first.state, budget.used) == (State.LIVE, 3)
    second.offer(store.accept(draft(BROADCAST)))
    assert (first.state, second.state, budget.used) == (State.LIVE, State.LAGGING, 3)
    assert second.read_request(len(store.log)) is None, "a page would go beyond the budget"
    first.close()
    assert budget.used == 0
    request = second.read_request(len(store.log))
    assert request is not None
    second.page(store.replay(second.audience, request))
    given = second.pull(store.now, len(store.log), limit=10, max_bytes=100)
    assert [message.seq for message, _ in given] == [4]
    assert (second.state, budget.used) == (State.LIVE, 0)


def test_streams_that_need_the_log_do_not_wait_for_what_they_keep_themselves() -> None:
    store, budget = Store(), Budget(6)
    store.accept(draft(BROADCAST, priority=Priority.URGENT))
    streams = [sharing(budget, store, Positions(1, 1, 0)) for _ in range(2)]
    for _ in range(3):
        message = store.accept(draft(BROADCAST))
        for stream in streams:
            stream.offer(message)
    assert budget.used == budget.limit
    given: list[list[int | None]] = [[], []]
    for _ in range(4):
        for stream, seqs in zip(streams, given, strict=True):
            request = stream.read_request(len(store.log))
            if request is not None:
                stream.page(store.replay(stream.audience, request))
            seqs += [item.message.seq for item in stream.pull(store.now, len(store.log), limit=9, max_bytes=99)]
    assert given == [[1, 2, 3, 4], [1, 2, 3, 4]]
    assert all(stream.level for stream in streams)
    assert budget.used == 0
