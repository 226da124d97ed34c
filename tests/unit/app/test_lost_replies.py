"""Commits whose outcome is unknown: settled by appending once more, answered as what they are, delivered once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest

from sse_adapters.memory import MemoryStore
from sse_app.sending import draft
from sse_domain.api import Receipt
from sse_domain.errors import SseError, StoreUnavailable
from sse_domain.log import Commit, Entry
from sse_domain.message import Receiver
from tests.unit.app.conftest import FakeClock, Parts, start_parts

ADA = Receiver.user("ada")
LOST, REFUSED = "the reply was lost", "the database did not answer"


class Unreliable:
    """Fails the next appends as it is told: REFUSED before anything is done, LOST when all is committed."""

    def __init__(self, store: MemoryStore, *failures: str) -> None:
        self._append = store.log.append
        self.failures = list(failures)
        self.tried: list[list[Entry]] = []
        vars(store.log).update(append=self.append)

    async def append(self, entries: Sequence[Entry], now: datetime) -> Commit:
        failure = self.failures.pop(0) if self.failures else None
        self.tried.append(list(entries))
        if failure == REFUSED:
            raise StoreUnavailable(REFUSED)
        commit = await self._append(entries, now)
        if failure == LOST:
            raise StoreUnavailable(LOST)
        return commit


async def unreliable_node(*failures: str) -> tuple[Parts, Unreliable]:
    store = MemoryStore()
    node = await start_parts(FakeClock(), store=store)
    return node, Unreliable(store, *failures)


async def test_after_a_lost_reply_a_message_without_an_id_is_what_it_is_new() -> None:
    node, log = await unreliable_node(LOST)
    _, writer = await node.open(user_id="ada")
    receipt = await node.hub.send_to_user("ada", "t", 1, persist=True)
    assert (receipt.seq, receipt.repeated, receipt.connections) == (1, False, 1)
    assert [[entry.may_repeat for entry in tried] for tried in log.tried] == [[False], [True]]
    assert (await node.hub.info()).accepted == 1
    assert writer.types == ["t"]
    await node.hub.send_to_user("ada", "next", 2, persist=True)
    assert writer.types == ["t", "next"]


async def test_after_a_lost_reply_a_message_with_an_id_may_be_a_repeat() -> None:
    node, _ = await unreliable_node(LOST)
    _, writer = await node.open(user_id="ada")
    receipt = await node.hub.send_to_user("ada", "t", 1, persist=True, event_id="e1")
    assert (receipt.event_id, receipt.seq, receipt.repeated) == ("e1", 1, True)
    assert writer.types == ["t"]


async def test_what_was_refused_at_first_is_new() -> None:
    node, _ = await unreliable_node(REFUSED)
    _, writer = await node.open(user_id="ada")
    for number, event_id in enumerate((None, "e1"), start=1):
        receipt = await node.hub.send_to_user("ada", "t", 1, persist=True, event_id=event_id)
        assert (receipt.seq, receipt.repeated, receipt.connections) == (number, False, 1)
    assert writer.types == ["t", "t"]


async def test_when_the_second_try_fails_too_the_sender_must_try_and_streams_are_given_it_once() -> None:
    for failures in ((LOST, LOST), (LOST, REFUSED), (REFUSED, LOST)):
        node, _ = await unreliable_node(*failures)
        _, writer = await node.open(user_id="ada")
        with pytest.raises(StoreUnavailable):
            await node.hub.send_to_user("ada", "t", 1, persist=True, event_id="e1")
        assert writer.types == []
        again = await node.hub.send_to_user("ada", "t", 1, persist=True, event_id="e1")
        assert (again.seq, again.repeated) == (1, True)
        await node.container.feed().catch_up()
        assert writer.types == ["t"], "the sender's own try has found the hole"


async def test_a_batch_with_a_lost_reply_is_answered_one_by_one_whatever_others_commit_meanwhile() -> None:
    node, log = await unreliable_node()
    there = await start_parts(node.clock, store=node.container.store())
    await there.hub.send_to_user("ada", "t0", 0, persist=True, event_id="taken")
    _, writer = await node.open(user_id="ada", cursor=f"1-{node.container.flow().head.epoch}")
    for failure in (LOST, REFUSED):
        before, first = len(writer.types), (await node.container.store().log.head()).seq + 2
        await there.hub.send_to_user("ada", "theirs", 0, persist=True)
        log.failures = [failure]
        answers = await node.hub.send_batch(
            [
                draft(ADA, "a", 1, persist=True),
                draft(ADA, "b", 2, persist=True, event_id=f"named-{first}"),
                draft(ADA, "other", 3, persist=True, event_id="taken"),
                draft(ADA, "c", 4, persist=True),
            ]
        )
        assert [(a.seq, a.repeated) if isinstance(a, Receipt) else a.code for a in answers] == [
            (first, False),
            (first + 1, failure == LOST),
            "event_id_conflict",
            (first + 2, False),
        ]
        assert writer.types[before:] == ["theirs", "a", "b", "c"]


async def test_what_is_committed_is_answered_so_though_the_log_cannot_be_read_after() -> None:
    node, _ = await unreliable_node()
    there = await start_parts(node.clock, store=node.container.store())
    _, writer = await node.open(user_id="ada")
    await there.hub.send_to_user("ada", "theirs", 1, persist=True)

    async def fail(*_: object) -> None:
        raise StoreUnavailable(REFUSED)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node.container.store().log, "read", fail)
        try:
            receipt = await node.hub.send_to_user("ada", "ours", 2, persist=True)
        except SseError as error:
            raise AssertionError("it is committed") from error
        assert (receipt.seq, receipt.connections, writer.types) == (2, 0, [])
    await node.container.feed().catch_up()
    assert writer.types == ["theirs", "ours"]
