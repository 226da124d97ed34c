"""MessageLog.replay: what a stream is given from the log, in which order and in which portions (SPEC §3)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import pytest

from sse_domain.inbox import TheseSeqs
from sse_domain.message import BROADCAST, Message, Priority, Receiver
from sse_domain.replay import ReadRequest, ReplayPage
from sse_domain.subscription import Audience, Subscription
from tests.support.clock import ManualClock
from tests.support.stores import Publisher, Store, seq_of

ANA, BOB = Receiver.user("ana"), Receiver.user("bob")
PHONE = Receiver.client("phone")
TEAM = Receiver.group("team")
EVERYTHING = ReadRequest(after=(0, 0, 0), through=10**6, limit=1000, max_bytes=10**6)


def audience(
    *,
    user: str | None = "ana",
    client: str | None = "phone",
    groups: Iterable[str] = (),
    groups_after: int = 0,
    subscriptions: Iterable[Subscription] = (),
    event_types: Iterable[str] | None = None,
) -> Audience:
    return Audience(
        client_id=client,
        user_id=user,
        groups=frozenset(groups),
        groups_after=groups_after,
        subscriptions={subscription.group: subscription for subscription in subscriptions},
        event_types=None if event_types is None else frozenset(event_types),
    )


def subscription(group: str, *, joined_after: int = 0, types: tuple[str, ...] | None = None) -> Subscription:
    return Subscription(user_id="ana", group=group, event_types=types, joined_after=joined_after)


def request(
    after: tuple[int | None, int | None, int | None] = (0, 0, 0),
    *,
    through: int = 10**6,
    limit: int = 1000,
    max_bytes: int = 10**6,
) -> ReadRequest:
    return ReadRequest(after=after, through=through, limit=limit, max_bytes=max_bytes)


def whole(*messages: Message) -> ReplayPage:
    return ReplayPage(messages, complete=True)


async def test_an_empty_log_has_nothing_to_replay(store: Store, clock: ManualClock) -> None:
    assert await store.log.replay(audience(), EVERYTHING, clock()) == whole()


async def test_urgent_comes_before_high_before_normal_each_by_seq(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    sent = [await publish(ANA, priority=priority) for priority in [*Priority, *reversed(Priority), *Priority]]
    expected = sorted(sent, key=lambda message: (-message.priority, message.seq))
    assert await store.log.replay(audience(), EVERYTHING, clock()) == whole(*expected)


async def test_only_the_priorities_asked_for_are_read_each_beyond_its_position(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    sent = [await publish(ANA, priority=priority) for priority in [*Priority, *Priority]]  # seqs 1 to 6
    low, high, urgent = ([message for message in sent if message.priority == priority] for priority in Priority)
    for after, expected in (
        ((1, 2, 3), [urgent[1], high[1], low[1]]),
        ((3, 6, 0), [*urgent, low[1]]),
        ((None, 0, None), high),
        ((0, None, 5), [urgent[1], *low]),
        ((None, None, None), []),
    ):
        assert await store.log.replay(audience(), request(after), clock()) == whole(*expected)


async def test_through_is_the_last_seq_read(store: Store, publish: Publisher, clock: ManualClock) -> None:
    sent = [await publish(ANA) for _ in range(4)]
    assert await store.log.replay(audience(), request((1, 1, 1), through=3), clock()) == whole(*sent[1:3])
    assert await store.log.replay(audience(), request((3, 3, 3), through=3), clock()) == whole()


async def test_the_limit_cuts_and_says_so(store: Store, publish: Publisher, clock: ManualClock) -> None:
    normal = [await publish(ANA) for _ in range(2)]
    urgent = [await publish(ANA, priority=Priority.URGENT) for _ in range(2)]
    for limit in (1, 2, 3):
        page = await store.log.replay(audience(), request(limit=limit), clock())
        assert page == ReplayPage((*urgent, *normal)[:limit], complete=False)
    assert await store.log.replay(audience(), request(limit=4), clock()) == whole(*urgent, *normal)


@pytest.mark.parametrize(("max_bytes", "count"), [(1, 1), (9, 1), (10, 1), (29, 1), (30, 2), (59, 2), (60, 3), (61, 3)])
async def test_bytes_cut_past_the_first_message(
    store: Store, publish: Publisher, clock: ManualClock, max_bytes: int, count: int
) -> None:
    sizes = (10, 20, 30)
    sent = [await publish(ANA, data=b'"' + b"x" * (size - 2) + b'"') for size in sizes]
    page = await store.log.replay(audience(), request(max_bytes=max_bytes), clock())
    assert page == ReplayPage(tuple(sent[:count]), complete=count == len(sent))


async def test_bytes_are_those_of_the_encoded_text(store: Store, publish: Publisher, clock: ManualClock) -> None:
    sent = [await publish(ANA, data='"€€€"'.encode()) for _ in range(3)]  # 5 characters, 11 bytes
    page = await store.log.replay(audience(), request(max_bytes=21), clock())
    assert page == ReplayPage((sent[0],), complete=False)
    page = await store.log.replay(audience(), request(max_bytes=22), clock())
    assert page == ReplayPage(tuple(sent[:2]), complete=False)


async def test_what_is_passed_over_does_not_count_towards_the_limits(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    for receiver in (BOB, Receiver.client("tablet"), TEAM):
        await publish(receiver, data=b'"%s"' % (b"x" * 100))
    await publish(ANA, ttl=1, data=b'"%s"' % (b"x" * 100))
    read = await publish(ANA, data=b'"%s"' % (b"x" * 100))
    await store.inbox.mark_read("ana", TheseSeqs((seq_of(read),)), clock())
    mine = [await publish(ANA), await publish(ANA)]
    page = await store.log.replay(audience(), request(limit=2, max_bytes=4), clock.advance(seconds=1))
    assert page == whole(*mine)


async def test_pages_of_any_size_add_up_to_the_whole(store: Store, publish: Publisher, clock: ManualClock) -> None:
    receivers = (ANA, BOB, PHONE, TEAM, BROADCAST)
    for receiver, priority in product(receivers, [*Priority, *reversed(Priority)]):
        await publish(receiver, priority=priority, data=b"1" * (1 + priority))
    ana = audience(subscriptions=[subscription("team")])
    everything = await store.log.replay(ana, EVERYTHING, clock())
    assert len(everything.messages) == 24
    for limit, max_bytes in ((1, 1000), (5, 1000), (1000, 4), (7, 9)):
        read: list[Message] = []
        after: list[int | None] = [0, 0, 0]
        complete = False
        while not complete:
            ask = request((after[0], after[1], after[2]), limit=limit, max_bytes=max_bytes)
            page = await store.log.replay(ana, ask, clock())
            read += page.messages
            complete = page.complete
            for message in page.messages:
                after[message.priority] = message.seq
        assert tuple(read) == everything.messages


async def test_what_is_expired_is_not_replayed(store: Store, publish: Publisher, clock: ManualClock) -> None:
    message = await publish(ANA, ttl=1)
    clock.advance(seconds=1, microseconds=-1)
    assert await store.log.replay(audience(), EVERYTHING, clock()) == whole(message)
    clock.advance(microseconds=1)
    assert await store.log.replay(audience(), EVERYTHING, clock()) == whole()


async def test_what_its_user_has_read_is_not_replayed(store: Store, publish: Publisher, clock: ManualClock) -> None:
    first, second = [await publish(BROADCAST) for _ in range(2)]
    await store.inbox.mark_read("ana", TheseSeqs((seq_of(first),)), clock())
    assert await store.log.replay(audience(), EVERYTHING, clock()) == whole(second)
    assert await store.log.replay(audience(user="bob"), EVERYTHING, clock()) == whole(first, second)
    assert await store.log.replay(audience(user=None), EVERYTHING, clock()) == whole(first, second)


async def test_each_stream_gets_its_users_its_clients_and_broadcast_messages(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    kinds = [Receiver.user, Receiver.client, Receiver.group]
    sent = [await publish(kind(name)) for kind in kinds for name in ("ana", "phone", "team")]
    to_all = await publish(BROADCAST)
    user_ana, client_phone, group_team = sent[0], sent[4], sent[8]
    for streams_audience, expected in (
        (audience(), [user_ana, client_phone, to_all]),
        (audience(client=None), [user_ana, to_all]),
        (audience(user=None), [client_phone, to_all]),
        (audience(user=None, client=None), [to_all]),
        (audience(user="bob", client="tablet"), [to_all]),
        (audience(user=None, client=None, groups=["team"]), [group_team, to_all]),
        (audience(user="bob", client=None, subscriptions=[subscription("team")]), [group_team, to_all]),
    ):
        assert await store.log.replay(streams_audience, EVERYTHING, clock()) == whole(*expected)


async def test_groups_joined_by_url_begin_at_their_position(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    team, other = [await publish(TEAM) for _ in range(3)], Receiver.group("other")
    await publish(other)
    for groups_after in range(4):
        streams_audience = audience(groups=["team", "empty"], groups_after=groups_after)
        page = await store.log.replay(streams_audience, EVERYTHING, clock())
        assert page == whole(*team[groups_after:])


async def test_subscriptions_begin_at_their_join_and_admit_their_types(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    sent = [await publish(TEAM, event_type=event_type) for event_type in ("a", "b", "c", "a", "b")]
    for standing, expected in (
        (subscription("team"), sent),
        (subscription("team", joined_after=2), sent[2:]),
        (subscription("team", types=("a", "c")), [sent[0], sent[2], sent[3]]),
        (subscription("team", joined_after=1, types=("a", "A", "b")), [sent[1], sent[3], sent[4]]),
        (subscription("team", types=("A",)), []),
    ):
        page = await store.log.replay(audience(subscriptions=[standing]), EVERYTHING, clock())
        assert page == whole(*expected)


async def test_a_group_joined_both_ways_gives_the_union_and_each_message_once(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    sent = [await publish(TEAM, event_type=event_type) for event_type in ("a", "b", "a", "b")]
    both = audience(groups=["team"], groups_after=2, subscriptions=[subscription("team", types=("a",))])
    assert await store.log.replay(both, EVERYTHING, clock()) == whole(sent[0], sent[2], sent[3])


async def test_the_given_audience_decides_not_what_the_store_has_on_record(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    await store.subscriptions.join("ana", "team", None)
    message = await publish(TEAM)
    assert await store.log.replay(audience(), EVERYTHING, clock()) == whole()
    page = await store.log.replay(audience(subscriptions=[subscription("team")]), EVERYTHING, clock())
    assert page == whole(message)


async def test_a_type_filter_holds_for_every_receiver(store: Store, publish: Publisher, clock: ManualClock) -> None:
    receivers = (ANA, PHONE, TEAM, BROADCAST)
    sent = [await publish(receiver, event_type=name) for receiver in receivers for name in ("a", "b", "A")]
    filtered = audience(groups=["team"], event_types=["a", "never"])
    assert await store.log.replay(filtered, EVERYTHING, clock()) == whole(*sent[::3])


async def test_a_stream_may_be_in_many_groups(store: Store, publish: Publisher, clock: ManualClock) -> None:
    sent = [await publish(Receiver.group(f"group-{number}")) for number in range(300)]
    many = audience(
        groups=[f"group-{number}" for number in range(50)],
        subscriptions=[subscription(f"group-{number}", types=("note", "other")) for number in range(50, 290)],
    )
    assert await store.log.replay(many, EVERYTHING, clock()) == whole(*sent[:290])
