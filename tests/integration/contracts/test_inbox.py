"""Inbox: unread counts, read marks and what readers were given (SPEC §2 Messages, §4)."""

from __future__ import annotations

import asyncio
from itertools import cycle, product

import pytest

from sse_domain.cursor import START, Positions
from sse_domain.inbox import (
    Delivered,
    InboxQuery,
    ReadSelection,
    StatusFilter,
    TheseSeqs,
    UnreadCounts,
    UpTo,
    count_unread,
)
from sse_domain.log import Entry
from sse_domain.message import BROADCAST, Draft, Priority, Receiver
from tests.support.clock import ManualClock
from tests.support.stores import Publisher, Store, seq_of

ANA, BOB = Receiver.user("ana"), Receiver.user("bob")
TEAM = Receiver.group("team")


async def unread_seqs(store: Store, clock: ManualClock, user_id: str = "ana") -> list[int]:
    query = InboxQuery(user_id=user_id, status=StatusFilter.UNREAD, limit=1000)
    return [seq_of(entry.message) for entry in await store.inbox.messages(query, START, clock())]


async def test_nothing_is_unread_at_first(store: Store, clock: ManualClock) -> None:
    counts = (await store.inbox.unread(["ana"], clock()))["ana"]
    assert counts == UnreadCounts()
    assert counts.next_expiry is None
    assert await store.inbox.oldest_unread("ana", clock()) == (None, None, None)


async def test_unread_counts_by_priority_group_and_type(store: Store, publish: Publisher, clock: ManualClock) -> None:
    await store.subscriptions.join("ana", "team", ("a", "b"))
    await store.subscriptions.join("ana", "ana", None)
    receivers = (ANA, BOB, Receiver.client("ana"), TEAM, Receiver.group("ana"), BROADCAST)
    for receiver, event_type in product(receivers, ("a", "b", "c")):
        priority = Priority.URGENT if event_type == "a" else Priority.NORMAL
        await publish(receiver, event_type=event_type, priority=priority)
    assert (await store.inbox.unread(["ana"], clock()))["ana"] == UnreadCounts(
        total=11,
        by_priority={Priority.NORMAL: 7, Priority.URGENT: 4},
        by_group={"team": 2, "ana": 3},
        by_event_type={"a": 4, "b": 4, "c": 3},
    )
    assert await store.inbox.oldest_unread("ana", clock()) == (2, None, 1)
    await store.inbox.mark_read("ana", TheseSeqs((1, 2, 10)), clock())
    assert (await store.inbox.unread(["ana"], clock()))["ana"] == UnreadCounts(
        total=8,
        by_priority={Priority.NORMAL: 6, Priority.URGENT: 2},
        by_group={"team": 1, "ana": 3},
        by_event_type={"a": 2, "b": 3, "c": 3},
    )
    assert await store.inbox.oldest_unread("ana", clock()) == (3, None, 13)


async def test_counts_of_many_users_at_once_are_each_ones_own(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    """More of them than are asked about in one piece: who has read nothing, all, or one here and there; members of
    groups since various times, with types of their own."""
    users = [f"user-{number}" for number in range(150)]
    for number, user in enumerate(users):
        if number % 3:
            await store.subscriptions.join(user, f"group-{number % 7}", ("a",) if number % 2 else None)
        if number % 5 == 0:
            await publish(Receiver.user(user), ttl=5 if number % 2 else None)
        if number % 10 == 0:
            await publish(BROADCAST)
            await publish(Receiver.group(f"group-{number % 7}"), event_type="a" if number % 20 else "b")
    for number, user in enumerate(users):
        if number % 4 == 1:
            await store.inbox.mark_read(user, UpTo(Positions.level(20)), clock())
        if number % 4 == 2:
            await store.inbox.mark_read(user, TheseSeqs((2, 13, 40)), clock())
    together = await store.inbox.unread(users, clock())
    assert together.keys() == set(users)
    for user in users:
        listed = InboxQuery(user_id=user, status=StatusFilter.UNREAD, limit=1000)
        entries = await store.inbox.messages(listed, START, clock())
        expected = count_unread(entry.message for entry in entries)
        assert together[user] == expected
        assert together[user].next_expiry == expected.next_expiry
    assert len({counts.total for counts in together.values()}) > 5
    assert await store.inbox.unread([], clock()) == {}
    nobodies = await store.inbox.unread(["nobody", "ana", "ana"], clock())
    assert [(user, counts.total) for user, counts in nobodies.items()] == [("nobody", 15), ("ana", 15)]


async def test_counts_change_at_the_instant_of_each_expiry(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    await publish(ANA, ttl=2, priority=Priority.HIGH)
    await publish(BROADCAST, ttl=1, priority=Priority.HIGH)
    await publish(ANA, priority=Priority.HIGH)
    await publish(BOB, ttl=0.5)
    read = await publish(ANA, ttl=0.5)
    await store.inbox.mark_read("ana", TheseSeqs((seq_of(read),)), clock())
    start = clock()
    for seconds, microseconds, total, oldest, next_expiry in (
        (0, 0, 3, 1, 1),
        (1, -1, 3, 1, 1),
        (1, 0, 2, 1, 2),
        (2, -1, 2, 1, 2),
        (2, 0, 1, 3, None),
        (10**6, 0, 1, 3, None),
    ):
        now = ManualClock(start).advance(seconds=seconds, microseconds=microseconds)
        counts = (await store.inbox.unread(["ana"], now))["ana"]
        assert (counts.total, counts.by_priority) == (total, {Priority.HIGH: total})
        expected = None if next_expiry is None else ManualClock(start).advance(seconds=next_expiry)
        assert counts.next_expiry == expected
        assert await store.inbox.oldest_unread("ana", now) == (None, oldest, None)


async def test_leaving_a_group_takes_its_messages_from_the_counts(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    await store.subscriptions.join("ana", "team", None)
    await publish(TEAM, ttl=60)
    await store.subscriptions.leave("ana", "team")
    counts = (await store.inbox.unread(["ana"], clock()))["ana"]
    assert (counts, counts.next_expiry) == (UnreadCounts(), None)
    await store.subscriptions.join("ana", "team", None)
    assert (await store.inbox.unread(["ana"], clock()))["ana"] == UnreadCounts()
    assert await store.inbox.oldest_unread("ana", clock()) == (None, None, None)


async def test_marking_counts_what_was_not_marked_before(store: Store, publish: Publisher, clock: ManualClock) -> None:
    for _ in range(5):
        await publish(ANA)
    assert await store.inbox.mark_read("ana", TheseSeqs(()), clock()) == 0
    assert await store.inbox.mark_read("ana", TheseSeqs((2, 4, 2)), clock()) == 2
    assert await store.inbox.mark_read("ana", TheseSeqs((4, 2)), clock()) == 0
    assert await store.inbox.mark_read("ana", UpTo(Positions.level(4)), clock()) == 2
    assert await store.inbox.mark_read("ana", UpTo(Positions.level(2)), clock()) == 0
    assert await unread_seqs(store, clock) == [5]


async def test_marks_of_what_is_not_visible_are_ignored(store: Store, publish: Publisher, clock: ManualClock) -> None:
    await publish(TEAM)  # before the join
    await store.subscriptions.join("ana", "team", ("a",))
    await publish(TEAM, event_type="b")
    for receiver in (BOB, Receiver.client("ana"), Receiver.group("ana")):
        await publish(receiver)
    await publish(ANA, ttl=1)
    visible = [await publish(receiver, event_type="a") for receiver in (ANA, TEAM, BROADCAST)]
    clock.advance(seconds=1)
    assert await store.inbox.mark_read("bob", TheseSeqs(tuple(range(4, 20))), clock()) == 1
    assert await store.inbox.mark_read("ana", TheseSeqs(tuple(range(-1, 20))), clock()) == len(visible)
    assert await store.inbox.mark_read("ana", UpTo(Positions.level(20)), clock()) == 0
    await store.subscriptions.join("ana", "team", None)
    assert await unread_seqs(store, clock) == [2]  # of another type then: seen now, and not read
    await store.subscriptions.join("bob", "team", None)
    assert await unread_seqs(store, clock, "bob") == [3]


async def test_up_to_a_position_marks_everything_visible_below_it(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    await store.subscriptions.join("ana", "team", None)
    for receiver, priority in product((ANA, BOB, TEAM, BROADCAST), Priority):  # seqs 1 to 12
        await publish(receiver, priority=priority)
    assert await store.inbox.mark_read("ana", UpTo(Positions.level(7)), clock()) == 4
    assert await unread_seqs(store, clock) == [8, 9, 10, 11, 12]
    assert await store.inbox.oldest_unread("ana", clock()) == (10, 8, 9)


async def test_up_to_a_streams_positions_leaves_what_was_overtaken(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    for priority in [*Priority, *Priority, *Priority]:  # seqs 1 to 9
        await publish(ANA, priority=priority)
    overtaken = Positions(normal=0, high=5, urgent=9)
    assert await store.inbox.mark_read("ana", UpTo(overtaken), clock()) == 5
    assert await unread_seqs(store, clock) == [1, 4, 7, 8]


async def test_the_order_of_marks_does_not_matter(store: Store, publish: Publisher, clock: ManualClock) -> None:
    for priority in [*Priority, *Priority]:
        await publish(BROADCAST, priority=priority)
    marks = (TheseSeqs((2, 6)), UpTo(Positions(4, 1, 3)), TheseSeqs((1, 5)))
    for user_id, order in (("ana", marks), ("bob", marks[::-1])):
        total = sum([await store.inbox.mark_read(user_id, mark, clock()) for mark in order])
        assert total == 6
        assert await unread_seqs(store, clock, user_id) == []


async def test_one_users_marks_are_not_anothers(store: Store, publish: Publisher, clock: ManualClock) -> None:
    for user_id in ("ana", "bob"):
        await store.subscriptions.join(user_id, "team", None)
    await publish(TEAM)
    await publish(BROADCAST)
    assert await store.inbox.mark_read("ana", UpTo(Positions.level(2)), clock()) == 2
    assert await unread_seqs(store, clock, "bob") == [1, 2]
    assert await store.inbox.mark_read("bob", TheseSeqs((2,)), clock()) == 1


async def test_of_two_marks_at_once_one_is_new(store: Store, publish: Publisher, clock: ManualClock) -> None:
    for _ in range(3):
        await publish(BROADCAST)
    selections: list[ReadSelection] = [TheseSeqs((1, 2)), UpTo(Positions.level(3))] * 4
    marks = await asyncio.gather(*(store.inbox.mark_read("ana", each, clock()) for each in selections))
    assert sum(marks) == 3


@pytest.mark.parametrize(
    "selection", [UpTo(Positions.level(5000)), TheseSeqs(tuple(range(5001)))], ids=["up to", "these"]
)
async def test_thousands_can_be_marked_in_one_call(store: Store, clock: ManualClock, selection: ReadSelection) -> None:
    entries = [
        Entry(
            Draft(receiver=receiver, event_type="note", data=b"1", persist=True, priority=Priority(number % 3)),
            event_id=f"event-{number}",
            may_repeat=False,
        )
        for number, receiver in zip(range(1, 5003), cycle((ANA, BROADCAST, BOB)), strict=False)
    ]
    await store.log.append(entries, clock())
    assert await store.inbox.mark_read("ana", TheseSeqs((1, 4, 2000)), clock()) == 3
    assert (await store.inbox.unread(["ana"], clock()))["ana"].total == 3335 - 3
    assert await store.inbox.mark_read("ana", selection, clock()) == 3334 - 3
    assert await unread_seqs(store, clock) == [5002]
    assert await store.inbox.mark_read("ana", selection, clock()) == 0


async def test_a_reader_never_seen_was_given_nothing(store: Store) -> None:
    await store.inbox.record_delivered({})
    assert (await store.inbox.delivered([ANA])).get(ANA) is None


async def test_many_readers_are_told_apart(store: Store, clock: ManualClock) -> None:
    users = [Receiver.user(f"reader-{number}") for number in range(100)]
    clients = [Receiver.client(f"reader-{number}") for number in range(0, 100, 2)]
    records = {
        reader: Delivered(Positions(place, 2 * place, 3), clock.advance(seconds=1))
        for place, reader in enumerate((*users, *clients))
    }
    await store.inbox.record_delivered(records)
    assert await store.inbox.delivered([*users, *clients, ANA, Receiver.client("reader-1")]) == records
    assert await store.inbox.delivered([]) == {}


async def test_what_was_delivered_only_moves_forward(store: Store, clock: ManualClock) -> None:
    start = clock()
    await store.inbox.record_delivered({ANA: Delivered(Positions(5, 2, 9), start)})
    assert (await store.inbox.delivered([ANA])).get(ANA) == Delivered(Positions(5, 2, 9), start)
    earlier = ManualClock(start).advance(microseconds=-1)
    await store.inbox.record_delivered({ANA: Delivered(Positions(4, 3, 9), earlier)})
    assert (await store.inbox.delivered([ANA])).get(ANA) == Delivered(Positions(5, 3, 9), start)
    later = ManualClock(start).advance(microseconds=1)
    await store.inbox.record_delivered({ANA: Delivered(START, later)})
    assert (await store.inbox.delivered([ANA])).get(ANA) == Delivered(Positions(5, 3, 9), later)


async def test_each_reader_has_its_own_record(store: Store, clock: ManualClock) -> None:
    readers = [kind(f"reader-{number}") for kind in (Receiver.user, Receiver.client) for number in range(300)]
    records = {
        reader: Delivered(Positions(number, 0, 2 * number), clock.advance(microseconds=1))
        for number, reader in enumerate(readers)
    }
    await store.inbox.record_delivered(records)
    for reader in readers[::37]:
        assert (await store.inbox.delivered([reader])).get(reader) == records[reader]
    moved = {reader: Delivered(Positions.level(1000), clock()) for reader in readers[:2]}
    await store.inbox.record_delivered(moved)
    assert (await store.inbox.delivered([readers[0]])).get(readers[0]) == moved[readers[0]]
    assert (await store.inbox.delivered([readers[2]])).get(readers[2]) == records[readers[2]]


async def test_records_made_at_once_lose_nothing(store: Store, clock: ManualClock) -> None:
    records = [Delivered(Positions(number, 9 - number, 5), clock()) for number in range(10)]
    await asyncio.gather(*(store.inbox.record_delivered({ANA: record}) for record in records))
    assert (await store.inbox.delivered([ANA])).get(ANA) == Delivered(Positions(9, 9, 5), clock())
