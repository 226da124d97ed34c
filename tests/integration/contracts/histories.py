"""Any history of an inbox, told to a store and to a naive model of SPEC §4 alike, and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from sse_domain.cursor import START, Positions
from sse_domain.inbox import Delivered, InboxQuery, StatusFilter, TheseSeqs, UnreadCounts, UpTo
from sse_domain.message import BROADCAST, Priority, Receiver
from tests.support.clock import MICROSECOND, ManualClock
from tests.support.naive_inbox import NaiveInbox, Sent
from tests.support.stores import Publisher, Store

USERS = ("ana", "Ana")
GROUPS = ("team", "ana")
TYPES = ("a", "b")


class History:
    """One history, told to a store and to the model alike."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.model = NaiveInbox()
        self.clock = ManualClock()
        self._publish = Publisher(store, self.clock)

    async def send(self, receiver: Receiver, event_type: str, priority: Priority, ttl: int | None) -> None:
        message = await self._publish(receiver, event_type=event_type, priority=priority, ttl=ttl)
        self.model.send(receiver.type.value, receiver.id or "", event_type, priority, self.clock(), ttl)
        assert message.seq == len(self.model.log)

    async def join(self, user: str, group: str, event_types: tuple[str, ...] | None) -> None:
        subscription, new, _ = await self.store.subscriptions.join(user, group, event_types)
        assert new == self.model.join(user, group, None if event_types is None else list(event_types))
        [membership] = [each for each in self.model.memberships if (each.user, each.group) == (user, group)]
        assert subscription.joined_after == membership.joined_after

    async def leave(self, user: str, group: str) -> None:
        assert (await self.store.subscriptions.leave(user, group) is not None) == self.model.leave(user, group)

    async def mark(self, user: str, seqs: list[int]) -> None:
        marked = await self.store.inbox.mark_read(user, TheseSeqs(tuple(seqs)), self.clock())
        assert marked == self.model.mark(user, seqs, self.clock())

    async def mark_up_to(self, user: str, positions: Positions) -> None:
        marked = await self.store.inbox.mark_read(user, UpTo(positions), self.clock())
        assert marked == self.model.mark_up_to(user, list(positions), self.clock())

    async def give(self, user: str, positions: Positions) -> None:
        await self.store.inbox.record_delivered({Receiver.user(user): Delivered(positions, self.clock())})
        self.model.give(user, list(positions))

    async def pass_time(self, by: timedelta) -> None:
        self.clock.now += by

    async def remove_expired(self) -> None:
        removed = await self.store.retention.remove_expired(self.clock(), 100)
        assert removed == self.model.remove_expired(self.clock())

    async def remove_older(self, age: timedelta, limit: int) -> None:
        removed = await self.store.retention.remove_older(self.clock() - age, limit)
        assert removed == self.model.remove_older(self.clock() - age, limit)

    async def compare(self) -> None:
        """Everything that the inbox can say now."""
        await self._compare_unread()
        records = await self.store.inbox.delivered([Receiver.user(user) for user in USERS])
        for user in USERS:
            record = records.get(Receiver.user(user))
            delivered = START if record is None else record.positions
            for status in (None, *StatusFilter):
                query = InboxQuery(user_id=user, status=status)
                entries = await self.store.inbox.messages(query, delivered, self.clock())
                expected = self.model.with_status(user, status, self.clock())
                assert [entry.message.seq for entry in entries] == [sent.seq for sent in expected], status

    async def compare_at_each_expiry(self) -> None:
        """The counts just before, at and after every instant at which they change by themselves."""
        now = self.clock()
        instants = {sent.expire_at for sent in self.model.log if sent.expire_at}
        for instant in sorted(instant for instant in instants if instant > now):
            for self.clock.now in (instant - MICROSECOND, instant, instant + MICROSECOND):
                await self._compare_unread()
        self.clock.now = now

    async def _compare_unread(self) -> None:
        together = await self.store.inbox.unread(USERS, self.clock())
        for user in USERS:
            await self._compare_unread_of(user, together[user])

    async def _compare_unread_of(self, user: str, counts: UnreadCounts) -> None:
        unread = self.model.unread(user, self.clock())
        assert counts.total == len(unread)
        assert counts.by_priority == _count(unread, lambda sent: sent.priority)
        assert counts.by_event_type == _count(unread, lambda sent: sent.event_type)
        groups = [sent for sent in unread if sent.kind == "group"]
        assert counts.by_group == _count(groups, lambda sent: sent.name)
        expiries = [sent.expire_at for sent in unread if sent.expire_at is not None]
        assert counts.next_expiry == min(expiries, default=None)
        oldest = await self.store.inbox.oldest_unread(user, self.clock())
        assert oldest == self.model.oldest_unread(user, self.clock())


def _count(messages: list[Sent], key: Callable[[Sent], object]) -> dict[object, int]:
    return dict(Counter(map(key, messages)))


users, groups = st.sampled_from(USERS), st.sampled_from(GROUPS)
receivers = st.one_of(
    users.map(Receiver.user), groups.map(Receiver.group), st.just(BROADCAST), users.map(Receiver.client)
)
types, priorities = st.sampled_from(TYPES), st.sampled_from(Priority)
type_filters = st.one_of(st.none(), st.lists(types, min_size=1, unique=True).map(tuple))
ttls = st.sampled_from([None, None, 1, 2, 3])
seqs = st.integers(0, 20)
positions = st.builds(Positions, seqs, seqs, seqs)
durations = st.sampled_from([0, 1, 999_999, 1_000_000]).map(lambda count: count * MICROSECOND)
ages = st.sampled_from([0, 1, 2]).map(lambda count: timedelta(seconds=count))

# What History is told to do, as the name of a method and its arguments.
sends = st.tuples(st.just("send"), receivers, types, priorities, ttls)
steps: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    sends,
    sends,  # more often than the rest: it is what the rest is about
    sends,
    st.tuples(st.just("join"), users, groups, type_filters),
    st.tuples(st.just("leave"), users, groups),
    st.tuples(st.just("mark"), users, st.lists(seqs, max_size=5)),
    st.tuples(st.just("mark_up_to"), users, positions),
    st.tuples(st.just("give"), users, positions),
    st.tuples(st.just("pass_time"), durations),
    st.tuples(st.just("remove_expired")),
    st.tuples(st.just("remove_older"), ages, st.sampled_from([1, 2, 100])),
)
