"""UnreadStamps: what changes a user's stamp, what does not, and who marked something as read lately."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sse_domain.cursor import Positions
from sse_domain.inbox import Delivered, ReadSelection, TheseSeqs, UnreadStamp, UpTo
from sse_domain.message import BROADCAST, Priority, Receiver
from tests.support.clock import MICROSECOND, ManualClock
from tests.support.stores import EPOCH, Publisher, Store

ANA, TEAM = Receiver.user("ana"), Receiver.group("team")


async def stamp_of(store: Store, user_id: str = "ana") -> UnreadStamp:
    return (await store.stamps.stamps([user_id]))[user_id]


async def test_the_stamp_of_a_user_to_whom_nothing_happened(store: Store) -> None:
    assert await store.stamps.stamps([]) == {}
    assert await store.stamps.stamps(["ana", "bob", "ana"]) == {
        user_id: UnreadStamp(epoch=EPOCH, memberships=0, removals=0, last_seq=0, marking=0)
        for user_id in ("ana", "bob")
    }


@pytest.mark.parametrize("priority", Priority)
async def test_it_has_the_newest_message_that_the_user_may_see(
    store: Store, publish: Publisher, priority: Priority
) -> None:
    await store.subscriptions.join("ana", "team", None)
    await store.subscriptions.join("ana", "news", None)
    for seq, receiver in enumerate([ANA, TEAM, Receiver.group("news"), BROADCAST, TEAM, ANA], start=1):
        await publish(receiver, priority=priority if seq % 2 else Priority.HIGH)
        assert (await stamp_of(store)).last_seq == seq
    assert (await stamp_of(store, "bob")).last_seq == 4


async def test_it_has_none_of_what_others_get(store: Store, publish: Publisher) -> None:
    await store.subscriptions.join("ana", "team", None)
    await store.subscriptions.join("ana", "left", None)
    await store.subscriptions.leave("ana", "left")
    await store.subscriptions.join("bob", "other", None)
    await publish(ANA)
    before = await stamp_of(store)
    others = (Receiver.user, "Ana"), (Receiver.user, "team"), (Receiver.client, "ana")
    for kind, name in (*others, (Receiver.group, "other"), (Receiver.group, "left"), (Receiver.group, "ana")):
        await publish(kind(name))
    assert await stamp_of(store) == before


async def test_what_is_not_visible_counts_too(store: Store, publish: Publisher, clock: ManualClock) -> None:
    """Then a look at the end of each receiver's messages is enough."""
    await publish(TEAM)
    await store.subscriptions.join("ana", "team", ("a",))
    assert (await stamp_of(store)).last_seq == 1
    await publish(TEAM, event_type="b", ttl=1)
    clock.advance(seconds=1)
    assert (await stamp_of(store)).last_seq == 2


@pytest.mark.parametrize("selection", [TheseSeqs((1, 2)), UpTo(Positions.level(2))])
async def test_whatever_is_newly_marked_gives_the_user_another_marking(
    store: Store, publish: Publisher, clock: ManualClock, selection: ReadSelection
) -> None:
    others = await stamp_of(store, "bob")
    markings = {0}
    for ttl in (None, 1, None):
        await publish(ANA, ttl=ttl)
        before = await stamp_of(store)
        assert before.marking in markings
        if await store.inbox.mark_read("ana", selection, clock()):
            after = await stamp_of(store)
            assert after == before._replace(marking=after.marking)
            assert after.marking not in markings
            assert 0 < after.marking < 2**53
            markings.add(after.marking)
    assert len(markings) == 3
    assert await stamp_of(store, "bob") == others


async def test_what_changes_no_count_changes_no_stamp(store: Store, publish: Publisher, clock: ManualClock) -> None:
    for receiver in (ANA, BROADCAST, Receiver.client("phone"), ANA):
        await publish(receiver, ttl=1 if receiver.id == "phone" else None)
    await store.subscriptions.join("ana", "team", None)
    await store.inbox.mark_read("ana", TheseSeqs((1,)), clock())
    before = await stamp_of(store)
    for selection in (TheseSeqs((1,)), TheseSeqs((3, 99)), TheseSeqs(()), UpTo(Positions.level(1))):
        assert await store.inbox.mark_read("ana", selection, clock.advance(seconds=1)) == 0
    await store.inbox.mark_read("bob", UpTo(Positions.level(4)), clock())
    await store.inbox.record_delivered({ANA: Delivered(Positions.level(4), clock())})
    await store.subscriptions.join("ana", "team", None)
    await store.subscriptions.leave("ana", "other")
    retention, yesterday = store.retention, clock() - timedelta(days=1)
    assert await retention.remove_expired(clock(), 10) == 1
    assert await retention.forget_readers(clock() + MICROSECOND, 10) == 1
    assert await retention.remove_older(yesterday, 10) == await retention.forget_markings(yesterday, 10) == 0
    assert await stamp_of(store) == before


async def test_joining_and_leaving_change_it(store: Store) -> None:
    seen = {await stamp_of(store)}
    for event_types in (None, ("a",), ("a", "b")):
        await store.subscriptions.join("ana", "team", event_types)
        seen.add(await stamp_of(store))
    await store.subscriptions.leave("ana", "team")
    assert len(seen | {await stamp_of(store)}) == 5


async def test_an_expired_message_that_is_removed_is_no_longer_the_newest(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    await publish(ANA)
    before = await stamp_of(store)
    await publish(ANA, ttl=1)
    assert (await stamp_of(store)).last_seq == 2
    assert await store.retention.remove_expired(clock.advance(seconds=1), 10) == 1
    assert await stamp_of(store) == before


async def test_whatever_is_removed_for_its_age_changes_it_in_whichever_order(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    start = clock()
    for seconds in (5, 0, 9):  # the second is sent by a node whose clock is late
        clock.now = start + timedelta(seconds=seconds)
        await publish(ANA)
    seen = {await stamp_of(store)}
    for seconds in (1, 6, 10):  # removes the second, then the first, below what was purged already
        assert await store.retention.remove_older(start + timedelta(seconds=seconds), 10) == 1
        seen.add(await stamp_of(store))
    assert len(seen) == 4


async def test_a_forgotten_marking_is_not_as_if_there_had_never_been_one(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    await publish(ANA)
    seen = {await stamp_of(store)}
    await store.inbox.mark_read("ana", TheseSeqs((1,)), clock())
    seen.add(await stamp_of(store))
    assert await store.retention.forget_markings(clock(), 10) == 0
    assert await store.retention.forget_markings(clock() + MICROSECOND, 10) == 1
    seen.add(await stamp_of(store))
    assert (await stamp_of(store)).marking == 0
    assert len(seen) == 3
    assert (await store.inbox.unread(["ana"], clock()))["ana"].total == 0


async def test_many_at_once_have_the_stamps_that_each_has_alone(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    users = [f"user {number}" for number in range(100)] + ["Ana", "ana ", "ána", "ana"]
    for number, user_id in enumerate(users):
        for group in {number % 7, number % 40}:
            if number % 3:
                await store.subscriptions.join(user_id, f"group {group}", None)
    for number in range(40):
        await publish(Receiver.group(f"group {number}"), priority=Priority(number % 3))
    for number, user_id in enumerate(users):
        if number % 5 == 0:
            await publish(Receiver.user(user_id), priority=Priority(number % 3))
            await store.inbox.mark_read(user_id, UpTo(Positions.level(30 + number)), clock())
    together = await store.stamps.stamps(users)
    assert list(together) == users
    assert len({(stamp.last_seq, stamp.marking) for stamp in together.values()}) > 40
    for user_id in [*users[:20], *users[-4:]]:
        assert together[user_id] == await stamp_of(store, user_id)


async def test_who_has_marked_something_lately(store: Store, publish: Publisher, clock: ManualClock) -> None:
    start = clock()
    for _ in range(2):
        await publish(BROADCAST)
    for user_id in ("ana", "bob", "eve"):
        await store.inbox.mark_read(user_id, TheseSeqs((1,)), clock())
        clock.advance(seconds=1)
    stamps = store.stamps
    assert await stamps.marked_since(start, 10) == ["eve", "bob", "ana"]
    assert await stamps.marked_since(start, 2) == ["eve", "bob"]
    assert await stamps.marked_since(start + timedelta(seconds=1), 10) == ["eve", "bob"]
    assert await stamps.marked_since(start + timedelta(seconds=1) + MICROSECOND, 10) == ["eve"]
    await store.inbox.mark_read("ana", UpTo(Positions.level(2)), clock())
    await store.inbox.mark_read("bob", UpTo(Positions.level(1)), clock())  # nothing new
    assert await stamps.marked_since(start, 10) == ["ana", "eve", "bob"]
    assert await store.retention.forget_markings(clock(), 10) == 2
    assert await stamps.marked_since(start, 10) == ["ana"]
    assert await stamps.marked_since(clock() + MICROSECOND, 10) == []
