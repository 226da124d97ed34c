"""MessageLog.replay, for any log and any stream: what `Audience.admits`, in the order and portions of SPEC §3.2."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_domain.inbox import TheseSeqs
from sse_domain.message import BROADCAST, Message, Priority, Receiver
from sse_domain.replay import ReadRequest, ReplayPage
from sse_domain.subscription import Audience, Subscription
from tests.integration.contracts.random_examples import bounded
from tests.support.clock import ManualClock
from tests.support.stores import STORES, Publisher, seq_of

NAMES = ("ana", "Ana", "team")

names = st.sampled_from(NAMES)
types = st.sampled_from("ab")
seqs = st.integers(0, 20)
optional_names = st.one_of(st.none(), names)
optional_seqs = st.one_of(st.none(), seqs)
receivers = st.one_of(
    st.just(BROADCAST), *(names.map(kind) for kind in (Receiver.user, Receiver.client, Receiver.group))
)
logs = st.lists(
    st.fixed_dictionaries(
        {
            "receiver": receivers,
            "event_type": types,
            "priority": st.sampled_from(Priority),
            "ttl": st.sampled_from([None, None, 1, 2]),
            "data": st.sampled_from([b"1", b"1234", b"12345678"]),
        }
    ),
    min_size=1,
    max_size=20,
)
subscriptions = st.builds(
    Subscription,
    user_id=st.just("whoever"),
    group=names,
    event_types=st.one_of(st.none(), st.lists(types, min_size=1, unique=True).map(tuple)),
    joined_after=seqs,
)
audiences = st.builds(
    Audience,
    client_id=optional_names,
    user_id=optional_names,
    groups=st.frozensets(names),
    groups_after=seqs,
    subscriptions=st.lists(subscriptions).map(lambda each: {standing.group: standing for standing in each}),
    event_types=st.one_of(st.none(), st.frozensets(types, min_size=1)),
)
requests = st.builds(
    ReadRequest,
    after=st.tuples(optional_seqs, optional_seqs, optional_seqs),
    through=seqs,
    limit=st.integers(1, 10),
    max_bytes=st.integers(1, 40),
)


def expected_page(candidates: list[Message], request: ReadRequest) -> ReplayPage:
    """From what a stream may be given, what this request asks for."""
    owed: list[Message] = []
    for priority in (2, 1, 0):
        after = request.after[priority]
        if after is not None:
            owed += [
                message
                for message in candidates
                if message.priority == priority and after < seq_of(message) <= request.through
            ]
    page: list[Message] = []
    for message in owed[: request.limit]:
        if page and sum(len(each.data) for each in [*page, message]) > request.max_bytes:
            break
        page.append(message)
    return ReplayPage(tuple(page), complete=len(page) == len(owed))


@pytest.mark.parametrize("name", STORES)
@bounded
@given(
    log=logs,
    marks=st.lists(st.tuples(names, seqs), max_size=8),
    seconds=st.sampled_from([0, 1, 2]),
    reads=st.lists(st.tuples(audiences, requests), min_size=1, max_size=10),
)
async def test_every_store_replays_what_the_audience_admits(
    name: str,
    tmp_path_factory: pytest.TempPathFactory,
    log: list[dict[str, Any]],
    marks: list[tuple[str, int]],
    seconds: int,
    reads: list[tuple[Audience, ReadRequest]],
) -> None:
    async with STORES[name](tmp_path_factory.mktemp("store")) as store:
        clock = ManualClock()
        publish = Publisher(store, clock)
        sent = [await publish(**fields) for fields in log]
        read = set()
        for user, seq in marks:
            if await store.inbox.mark_read(user, TheseSeqs((seq,)), clock()):
                read.add((user, seq))
        now = clock.advance(seconds=seconds)
        for audience, request in reads:
            candidates = [
                message
                for message in sent
                if audience.admits(message)
                and (message.expire_at is None or message.expire_at > now)
                and (audience.user_id, message.seq) not in read
            ]
            page = await store.log.replay(audience, request, now)
            assert page == expected_page(candidates, request)
