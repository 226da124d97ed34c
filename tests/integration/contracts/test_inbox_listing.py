"""Inbox.messages: what is visible, what each filter admits, and paging (SPEC §2 Messages, §4)."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest

from sse_domain.cursor import START, Positions
from sse_domain.inbox import MAX_PAGE_BYTES, InboxEntry, InboxQuery, Status, StatusFilter, TheseSeqs
from sse_domain.message import BROADCAST, MAX_DATA_BYTES, Message, Priority, Receiver
from tests.support.clock import MICROSECOND, ManualClock
from tests.support.stores import Publisher, Store, seq_of

ANA, BOB = Receiver.user("ana"), Receiver.user("bob")
TEAM = Receiver.group("team")
MINE = InboxQuery(user_id="ana")


def pending(*messages: Message) -> list[InboxEntry]:
    return [InboxEntry(message=message, status=Status.PENDING) for message in messages]


async def listed(store: Store, clock: ManualClock, query: InboxQuery = MINE) -> list[Message]:
    return [entry.message for entry in await store.inbox.messages(query, START, clock())]


async def test_an_empty_inbox_lists_nothing(store: Store, clock: ManualClock) -> None:
    assert await store.inbox.messages(MINE, START, clock()) == []


async def test_visible_is_what_is_for_the_user_its_groups_or_all(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    await store.subscriptions.join("ana", "team", None)
    await store.subscriptions.join("bob", "choir", None)
    kinds = (Receiver.user, Receiver.client, Receiver.group)
    sent = [await publish(kind(name)) for kind in kinds for name in ("ana", "team", "choir")]
    to_all = await publish(BROADCAST)
    assert await store.inbox.messages(MINE, START, clock()) == pending(sent[0], sent[7], to_all)


async def test_a_group_is_visible_from_the_join_on_and_in_the_types_subscribed_to(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    await publish(TEAM, event_type="a")
    await store.subscriptions.join("ana", "team", ("a", "c"))
    sent = [await publish(TEAM, event_type=event_type) for event_type in ("a", "b", "A", "c")]
    assert await listed(store, clock) == [sent[0], sent[3]]
    await store.subscriptions.join("ana", "team", None)
    assert await listed(store, clock) == sent
    await store.subscriptions.join("ana", "team", ("b",))
    assert await listed(store, clock) == [sent[1]]


async def test_leaving_a_group_revokes_its_messages_and_rejoining_starts_afresh(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    await store.subscriptions.join("ana", "team", None)
    kept = await publish(ANA)
    await publish(TEAM)
    await store.subscriptions.leave("ana", "team")
    assert await listed(store, clock) == [kept]
    await publish(TEAM)
    await store.subscriptions.join("ana", "team", None)
    assert await listed(store, clock) == [kept]
    after = await publish(TEAM)
    assert await listed(store, clock) == [kept, after]


async def test_what_is_expired_is_not_listed(store: Store, publish: Publisher, clock: ManualClock) -> None:
    message = await publish(ANA, ttl=1)
    clock.advance(seconds=1, microseconds=-1)
    assert await listed(store, clock) == [message]
    clock.advance(microseconds=1)
    assert await listed(store, clock) == []


async def test_the_status_follows_what_was_delivered_and_read(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    sent = [await publish(ANA, priority=priority) for priority in [*Priority, *Priority]]  # seqs 1 to 6
    await store.inbox.mark_read("ana", TheseSeqs((2, 6)), clock())
    delivered = Positions(normal=3, high=5, urgent=2)
    wanted = [Status.SENT, Status.READ, Status.PENDING, Status.PENDING, Status.SENT, Status.READ]
    entries = [InboxEntry(message=message, status=status) for message, status in zip(sent, wanted, strict=True)]
    assert await store.inbox.messages(MINE, delivered, clock()) == entries
    for status, admitted in (
        (StatusFilter.PENDING, {Status.PENDING}),
        (StatusFilter.SENT, {Status.SENT}),
        (StatusFilter.READ, {Status.READ}),
        (StatusFilter.UNREAD, {Status.PENDING, Status.SENT}),
    ):
        query = InboxQuery(user_id="ana", status=status)
        expected = [entry for entry in entries if entry.status in admitted]
        assert await store.inbox.messages(query, delivered, clock()) == expected


async def test_each_filter_admits_exactly_its_own(store: Store, publish: Publisher, clock: ManualClock) -> None:
    for joined in ("team", "ana", "choir"):
        await store.subscriptions.join("ana", joined, None)
    receivers = (ANA, BROADCAST, TEAM, Receiver.group("ana"), Receiver.group("choir"))
    sent = [
        await publish(receiver, event_type=event_type, priority=priority)
        for receiver, event_type, priority in product(receivers, ("a", "A"), Priority)
    ]
    event_types = (None, "a", "A", "b")
    groups = (None, "team", "ana", "Team", "bob")
    for event_type, group, priority in product(event_types, groups, (None, *Priority)):
        query = InboxQuery(user_id="ana", event_type=event_type, group=group, priority=priority)
        assert await listed(store, clock, query) == [
            message
            for message in sent
            if event_type in (None, message.event_type)
            and (group is None or message.receiver == Receiver.group(group))
            and priority in (None, message.priority)
        ]


async def test_a_group_that_was_not_joined_can_not_be_listed(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    await publish(TEAM)
    assert await listed(store, clock, InboxQuery(user_id="ana", group="team")) == []


async def test_since_includes_its_instant(store: Store, publish: Publisher, clock: ManualClock) -> None:
    sent = []
    for _ in range(3):
        sent.append(await publish(ANA))
        clock.advance(microseconds=1)
    for place, message in enumerate(sent):
        query = InboxQuery(user_id="ana", since=message.created_at)
        assert await listed(store, clock, query) == sent[place:]
    assert await listed(store, clock, InboxQuery(user_id="ana", since=sent[-1].created_at + MICROSECOND)) == []


async def test_since_looks_at_times_and_order_at_seqs(store: Store, publish: Publisher, clock: ManualClock) -> None:
    start = clock()
    sent = []
    for seconds in (10, -5, 15):  # created at 10, 5 and 20
        clock.advance(seconds=seconds)
        sent.append(await publish(ANA))
    assert await listed(store, clock) == sent
    query = InboxQuery(user_id="ana", since=start + timedelta(seconds=8))
    assert await listed(store, clock, query) == [sent[0], sent[2]]


async def test_after_goes_up_beyond_the_position_of_each_priority(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    sent = [await publish(ANA, priority=priority) for priority in [*Priority, *Priority]]  # seqs 1 to 6
    for after, seqs in (
        (START, [1, 2, 3, 4, 5, 6]),
        (Positions.level(3), [4, 5, 6]),
        (Positions(normal=1, high=5, urgent=2), [3, 4, 6]),
        (Positions(normal=6, high=0, urgent=6), [2, 5]),
        (Positions.level(6), []),
    ):
        query = InboxQuery(user_id="ana", after=after)
        assert await listed(store, clock, query) == [sent[seq - 1] for seq in seqs]


async def test_after_goes_down_below_the_greatest_position(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    sent = [await publish(ANA, priority=priority) for priority in [*Priority, *Priority]]
    for after, seqs in (
        (None, [6, 5, 4, 3, 2, 1]),
        (Positions.level(7), [6, 5, 4, 3, 2, 1]),
        (Positions.level(4), [3, 2, 1]),
        (Positions(normal=1, high=3, urgent=0), [2, 1]),
        (Positions.level(1), []),
    ):
        query = InboxQuery(user_id="ana", after=after, descending=True)
        assert await listed(store, clock, query) == [sent[seq - 1] for seq in seqs]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("status", [None, StatusFilter.UNREAD, StatusFilter.READ])
async def test_pages_add_up_to_the_whole_without_loss_or_repeat(
    store: Store, publish: Publisher, clock: ManualClock, descending: bool, status: StatusFilter | None
) -> None:
    await store.subscriptions.join("ana", "team", None)
    receivers = (BOB, ANA, TEAM, Receiver.client("ana"), BROADCAST)
    for receiver, priority in product(receivers, [*reversed(Priority), *Priority]):
        await publish(receiver, priority=priority)
    await store.inbox.mark_read("ana", TheseSeqs(tuple(range(0, 31, 3))), clock())
    query = InboxQuery(user_id="ana", status=status, descending=descending)
    everything = await listed(store, clock, query)
    assert len(everything) == {None: 18, StatusFilter.UNREAD: 12, StatusFilter.READ: 6}[status]
    assert everything == sorted(everything, key=seq_of, reverse=descending)
    for limit in (1, 4, 6, 17):
        pages: list[Message] = []
        after: Positions | None = None
        while page := await listed(
            store,
            clock,
            InboxQuery(user_id="ana", status=status, descending=descending, limit=limit, after=after),
        ):
            assert len(page) <= limit
            pages += page
            after = Positions.level(seq_of(page[-1]))
        assert pages == everything


async def test_the_limit_counts_what_is_admitted(store: Store, publish: Publisher, clock: ManualClock) -> None:
    for priority in [*Priority, *Priority, *Priority]:
        await publish(BOB, priority=priority)
        await publish(ANA, priority=priority)
    query = InboxQuery(user_id="ana", priority=Priority.URGENT, limit=2)
    assert [message.seq for message in await listed(store, clock, query)] == [6, 12]


@pytest.mark.parametrize("descending", [False, True])
async def test_a_page_of_large_messages_is_cut_by_their_bytes_and_continues(
    store: Store, publish: Publisher, clock: ManualClock, descending: bool
) -> None:
    large = b'"%s"' % (b"x" * (MAX_DATA_BYTES - 2))
    fit = MAX_PAGE_BYTES // MAX_DATA_BYTES
    sent = [await publish(ANA, data=large) for _ in range(fit + 2)]
    sent = sent[::-1] if descending else sent
    first = await listed(store, clock, InboxQuery(user_id="ana", descending=descending))
    assert first == sent[:fit]
    after = Positions.level(seq_of(first[-1]))
    assert await listed(store, clock, InboxQuery(user_id="ana", descending=descending, after=after)) == sent[fit:]
