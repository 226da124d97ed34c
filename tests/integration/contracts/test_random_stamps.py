"""UnreadStamps, after any history: a user's stamp that is as it was before vouches for the counts of then."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_domain.cursor import Positions
from sse_domain.inbox import UnreadStamp
from sse_domain.message import BROADCAST, Priority, Receiver
from tests.integration.contracts.histories import USERS, History, type_filters, types
from tests.integration.contracts.random_examples import bounded
from tests.support.clock import MICROSECOND
from tests.support.naive_inbox import Sent
from tests.support.stores import STORES, Store


class StampedHistory(History):
    """What each user had not read when a stamp of theirs was first seen."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._unread: dict[tuple[str, UnreadStamp], list[Sent]] = {}

    async def send_as_of(
        self, skew: timedelta, receiver: Receiver, event_type: str, priority: Priority, ttl: int | None
    ) -> None:
        """From a node whose clock is so much ahead."""
        self.clock.now += skew
        await self.send(receiver, event_type, priority, ttl)
        self.clock.now -= skew

    async def forget_markings(self, age: timedelta) -> None:
        await self.store.retention.forget_markings(self.clock() - age, 100)

    async def compare_stamps(self) -> None:
        stamps = await self.store.stamps.stamps(USERS)
        for user in USERS:
            unread = self.model.unread(user, self.clock())
            before = self._unread.setdefault((user, stamps[user]), unread)
            assert unread == [sent for sent in before if sent.expire_at is None or sent.expire_at > self.clock()]


# Few of everything, so that the same stamp comes again.
users, groups = st.just("ana"), st.just("team")
receivers = st.sampled_from([Receiver.user("ana"), Receiver.group("team"), BROADCAST])
priorities, ttls = st.sampled_from(Priority), st.sampled_from([None, None, 1])
skews = st.sampled_from([0, 0, -2, 1]).map(lambda seconds: timedelta(seconds=seconds))
ages = st.sampled_from([-MICROSECOND, timedelta(seconds=1)])  # older than the first is all that was made by now
seqs = st.integers(1, 10)

sends = st.tuples(st.just("send_as_of"), skews, receivers, types, priorities, ttls)
steps: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    sends,
    sends,
    sends,
    st.tuples(st.just("join"), users, groups, type_filters),
    st.tuples(st.just("leave"), users, groups),
    st.tuples(st.just("mark"), users, st.lists(seqs, min_size=1, max_size=3)),
    st.tuples(st.just("mark_up_to"), users, seqs.map(Positions.level)),
    st.tuples(st.just("pass_time"), st.just(timedelta(seconds=1))),
    st.tuples(st.just("remove_expired")),
    st.tuples(st.just("remove_older"), ages, st.just(100)),
    st.tuples(st.just("forget_markings"), ages),
)


@pytest.mark.parametrize("name", STORES)
@settings(bounded, max_examples=100)
@given(history_steps=st.lists(steps, min_size=10, max_size=40))
async def test_while_a_stamp_is_the_same_counts_only_lose_what_expires(
    name: str, tmp_path_factory: pytest.TempPathFactory, history_steps: list[tuple[Any, ...]]
) -> None:
    async with STORES[name](tmp_path_factory.mktemp("store")) as store:
        history = StampedHistory(store)
        await history.compare_stamps()
        for step, *arguments in history_steps:
            await getattr(history, step)(*arguments)
            await history.compare_stamps()
