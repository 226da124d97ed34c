"""Inbox.messages and MessageLog.seq_before, for any query and any course of the clock: what the rules admit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_domain.cursor import Positions
from sse_domain.inbox import InboxEntry, InboxQuery, StatusFilter, TheseSeqs, status_of, visible
from sse_domain.message import BROADCAST, Priority, Receiver
from tests.integration.contracts.random_examples import bounded
from tests.support.clock import FIRST_INSTANT, MICROSECOND, ManualClock
from tests.support.stores import STORES, Publisher, seq_of

GROUPS = ("team", "ana")

types = st.sampled_from("ab")
groups = st.sampled_from(GROUPS)
seqs = st.integers(0, 20)
positions = st.builds(Positions, seqs, seqs, seqs)
# Microseconds, so that messages of one instant, and clocks set back, are common.
jumps = st.integers(-4, 5)
sends = st.fixed_dictionaries(
    {
        "receiver": st.sampled_from(
            [BROADCAST, Receiver.user("ana"), Receiver.user("bob"), *map(Receiver.group, GROUPS)]
        ),
        "event_type": types,
        "priority": st.sampled_from(Priority),
        "ttl": st.sampled_from([None, None, 1]),
    }
)
queries = st.builds(
    InboxQuery,
    user_id=st.just("ana"),
    status=st.one_of(st.none(), st.sampled_from(StatusFilter)),
    event_type=st.one_of(st.none(), types),
    group=st.one_of(st.none(), groups),
    priority=st.one_of(st.none(), st.sampled_from(Priority)),
    after=st.one_of(st.none(), positions),
    since=st.one_of(st.none(), st.integers(-4, 12).map(lambda count: FIRST_INSTANT + count * MICROSECOND)),
    descending=st.booleans(),
    limit=st.sampled_from([1, 3, 1000]),
)


@pytest.mark.parametrize("name", STORES)
@bounded
@given(
    log=st.lists(st.tuples(jumps, sends), min_size=4, max_size=15),
    joins=st.dictionaries(groups, st.integers(0, 5)),
    marks=st.lists(seqs, max_size=8),
    asked=st.lists(st.tuples(queries, positions, st.booleans()), min_size=5, max_size=12),
)
async def test_every_store_lists_what_the_query_admits(
    name: str,
    tmp_path_factory: pytest.TempPathFactory,
    log: list[tuple[int, dict[str, Any]]],
    joins: dict[str, int],
    marks: list[int],
    asked: list[tuple[InboxQuery, Positions, bool]],
) -> None:
    async with STORES[name](tmp_path_factory.mktemp("store")) as store:
        clock = ManualClock()
        publish = Publisher(store, clock)
        sent = []
        for number, (jump, fields) in enumerate(log):
            for group, when in joins.items():
                if when == number:
                    await store.subscriptions.join("ana", group, None)
            clock.advance(microseconds=jump)
            sent.append(await publish(**fields))
        subscriptions = {each.group: each for each in (await store.subscriptions.of_users(["ana"]))["ana"]}
        now = FIRST_INSTANT  # some messages may be of a later time: the clock was set back
        await store.inbox.mark_read("ana", TheseSeqs(tuple(marks)), now)
        read = {message.seq for message in sent if message.seq in marks and visible(message, "ana", subscriptions, now)}
        for query, delivered, later in asked:
            then = now + timedelta(seconds=1) if later else now
            entries = [
                InboxEntry(message=message, status=status_of(message, read=message.seq in read, delivered=delivered))
                for message in sent
                if visible(message, "ana", subscriptions, then)
            ]
            admitted = [entry for entry in entries if query.admits(entry)]
            if query.descending:
                admitted.reverse()
            assert await store.inbox.messages(query, delivered, then) == admitted[: query.limit]
            if query.since is not None:
                not_before = [seq_of(message) for message in sent if message.created_at >= query.since]
                assert await store.log.seq_before(query.since) == min(not_before, default=len(sent) + 1) - 1
