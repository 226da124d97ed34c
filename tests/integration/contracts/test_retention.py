"""Retention: what is removed, in which portions, and what is forgotten with it (SPEC §4, §5)."""

from __future__ import annotations

from sse_domain.cursor import START, Positions
from sse_domain.inbox import Delivered, InboxQuery, StatusFilter, TheseSeqs, UnreadCounts
from sse_domain.message import BROADCAST, Message, Receiver
from sse_domain.replay import LogHead, ReadRequest, ReplayPage
from sse_domain.subscription import Audience
from tests.support.clock import MICROSECOND, ManualClock
from tests.support.stores import EPOCH, Publisher, Store

ANA = Receiver.user("ana")


async def kept_seqs(store: Store) -> list[int | None]:
    return [message.seq for message in await store.log.read(0, 1000)]


async def publish_each_second(publish: Publisher, clock: ManualClock, count: int) -> list[Message]:
    """The clock stands a second past the last."""
    sent = []
    for _ in range(count):
        sent.append(await publish(ANA))
        clock.advance(seconds=1)
    return sent


async def test_an_empty_store_has_nothing_to_remove(store: Store, clock: ManualClock) -> None:
    assert await store.retention.remove_expired(clock(), 10) == 0
    assert await store.retention.remove_older(clock(), 10) == 0
    assert await store.retention.forget_readers(clock(), 10) == 0
    assert await store.retention.forget_markings(clock(), 10) == 0
    assert await store.log.head() == LogHead(epoch=EPOCH, seq=0, purged_through=0)


async def test_a_message_is_removed_from_the_instant_of_its_expiry_on(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    await publish(ANA, ttl=1)
    await publish(ANA)
    clock.advance(seconds=1, microseconds=-1)
    assert await store.retention.remove_expired(clock(), 10) == 0
    clock.advance(microseconds=1)
    assert await store.retention.remove_expired(clock(), 10) == 1
    assert await kept_seqs(store) == [2]
    assert await store.retention.remove_expired(clock(), 10) == 0


async def test_expired_messages_go_in_portions_and_leave_no_gap_to_tell(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    for number in range(7):
        await publish(BROADCAST if number % 2 else ANA, ttl=1 if number != 3 else None)
    clock.advance(seconds=2)
    assert [await store.retention.remove_expired(clock(), 4) for _ in range(3)] == [4, 2, 0]
    assert await kept_seqs(store) == [4]
    assert await store.log.head() == LogHead(epoch=EPOCH, seq=7, purged_through=0)


async def test_older_means_created_before(store: Store, publish: Publisher, clock: ManualClock) -> None:
    message = await publish(ANA)
    assert await store.retention.remove_older(message.created_at, 10) == 0
    assert await kept_seqs(store) == [1]
    assert await store.retention.remove_older(message.created_at + MICROSECOND, 10) == 1
    assert await kept_seqs(store) == []


async def test_the_oldest_go_first_in_portions_and_purged_through_follows(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    sent = await publish_each_second(publish, clock, 7)
    than = sent[5].created_at
    for count, purged_through in ((2, 2), (2, 4), (1, 5), (0, 5)):
        assert await store.retention.remove_older(than, 2) == count
        assert await store.log.head() == LogHead(epoch=EPOCH, seq=7, purged_through=purged_through)
        assert await store.log.read(0, 10) == sent[purged_through:]


async def test_age_is_told_by_the_time_not_by_the_seq(store: Store, publish: Publisher, clock: ManualClock) -> None:
    start = clock()
    for seconds in (10, -5, -5, 15):  # created at 10, 5, 0 and 15
        clock.advance(seconds=seconds)
        await publish(ANA)
    assert await store.retention.remove_older(ManualClock(start).advance(seconds=6), 10) == 2
    assert await kept_seqs(store) == [1, 4]
    assert (await store.log.head()).purged_through == 3
    assert await store.retention.remove_older(ManualClock(start).advance(seconds=11), 10) == 1
    assert (await store.log.head()).purged_through == 3


async def test_age_takes_the_expired_too(store: Store, publish: Publisher, clock: ManualClock) -> None:
    await publish(ANA, ttl=1)
    await publish(ANA, ttl=60)
    clock.advance(seconds=5)
    assert await store.retention.remove_older(clock(), 10) == 2
    assert (await store.log.head()).purged_through == 2
    assert await store.retention.remove_expired(clock.advance(seconds=60), 10) == 0


async def test_what_was_removed_is_gone_from_every_answer(store: Store, publish: Publisher, clock: ManualClock) -> None:
    first, second = await publish_each_second(publish, clock, 2)
    await store.inbox.mark_read("ana", TheseSeqs((1,)), clock())
    assert await store.retention.remove_older(clock(), 10) == 2
    assert await store.log.find([first.event_id, second.event_id]) == {}
    assert await store.log.seq_before(first.created_at) == 2
    assert await store.log.first_owed(ANA, START, clock()) == (None, None, None)
    audience = Audience(client_id=None, user_id="ana", subscriptions={})
    request = ReadRequest(after=(0, 0, 0), through=10, limit=10, max_bytes=10)
    assert await store.log.replay(audience, request, clock()) == ReplayPage((), complete=True)
    for status in (None, StatusFilter.READ, StatusFilter.UNREAD):
        for descending in (False, True):
            query = InboxQuery(user_id="ana", status=status, descending=descending)
            assert await store.inbox.messages(query, START, clock()) == []
    assert (await store.inbox.unread(["ana"], clock()))["ana"] == UnreadCounts()
    assert await store.inbox.oldest_unread("ana", clock()) == (None, None, None)
    assert await store.inbox.mark_read("ana", TheseSeqs((1, 2)), clock()) == 0


async def test_the_series_goes_on_after_everything_was_removed(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    await publish_each_second(publish, clock, 3)
    await store.retention.remove_older(clock(), 10)
    assert await store.log.head() == LogHead(epoch=EPOCH, seq=3, purged_through=3)
    subscription, _, _ = await store.subscriptions.join("ana", "team", None)
    assert subscription.joined_after == 3
    assert (await publish(ANA)).seq == 4


async def test_a_removed_event_id_may_be_used_again_and_is_unread(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    for remove in (store.retention.remove_expired, store.retention.remove_older):
        await publish(ANA, event_id="again", ttl=1)
        await store.inbox.mark_read("ana", TheseSeqs((1, 2, 3)), clock())
        clock.advance(seconds=1)
        assert await remove(clock(), 10) == 1
    afresh = await publish(ANA, event_id="again")  # asserts that it is new
    assert afresh.seq == 3
    assert (await store.inbox.unread(["ana"], clock()))["ana"].total == 1


async def test_readers_are_forgotten_who_were_last_seen_before(store: Store, clock: ManualClock) -> None:
    start = clock()
    records = {
        kind(f"reader-{number}"): Delivered(Positions.level(number), clock.advance(seconds=1))
        for number in range(3)
        for kind in (Receiver.user, Receiver.client)
    }
    await store.inbox.record_delivered(records)
    assert await store.retention.forget_readers(ManualClock(start).advance(seconds=1), 10) == 0
    unseen_since = ManualClock(start).advance(seconds=5)
    assert [await store.retention.forget_readers(unseen_since, 3) for _ in range(3)] == [3, 1, 0]
    for reader, record in records.items():
        kept = (await store.inbox.delivered([reader])).get(reader)
        assert kept == (None if record.seen_at < unseen_since else record)


async def test_a_forgotten_reader_starts_afresh(store: Store, clock: ManualClock) -> None:
    await store.inbox.record_delivered({ANA: Delivered(Positions(9, 9, 9), clock())})
    assert await store.retention.forget_readers(clock.advance(seconds=1), 10) == 1
    await store.inbox.record_delivered({ANA: Delivered(Positions(1, 2, 3), clock())})
    assert (await store.inbox.delivered([ANA])).get(ANA) == Delivered(Positions(1, 2, 3), clock())


async def test_markings_are_forgotten_that_were_made_before(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    start = clock()
    await publish(BROADCAST)
    for number in range(6):
        await store.inbox.mark_read(f"user-{number}", TheseSeqs((1,)), clock.advance(seconds=1))
    assert await store.retention.forget_markings(ManualClock(start).advance(seconds=1), 10) == 0
    unmarked_since = ManualClock(start).advance(seconds=6)
    assert [await store.retention.forget_markings(unmarked_since, 3) for _ in range(3)] == [3, 2, 0]
    assert await store.stamps.marked_since(start, 10) == ["user-5"]
    assert all(
        counts.total == 0 for counts in (await store.inbox.unread([f"user-{n}" for n in range(6)], clock())).values()
    )
