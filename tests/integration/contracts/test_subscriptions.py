"""Subscriptions: joining, changing and leaving groups (SPEC §2 Subscriptions, §3.6)."""

from __future__ import annotations

import asyncio

from sse_domain.log import Entry
from sse_domain.message import Draft, Receiver
from sse_domain.replay import LogHead
from sse_domain.subscription import Membership, Subscription
from tests.support.clock import ManualClock
from tests.support.stores import EPOCH, Publisher, Store, seq_of

TEAM = Receiver.group("team")


async def test_nobody_is_subscribed_at_first(store: Store) -> None:
    assert (await store.subscriptions.of_users(["ana"]))["ana"] == []
    assert await store.subscriptions.of_group("team", 10) == []


async def test_a_subscription_begins_at_the_head_of_the_log(store: Store, publish: Publisher) -> None:
    subscription, new, _ = await store.subscriptions.join("ana", "early", ("b", "a"))
    assert new
    assert subscription == Subscription(user_id="ana", group="early", event_types=("b", "a"), joined_after=0)
    last = seq_of([await publish(TEAM) for _ in range(3)][-1])
    later, new, _ = await store.subscriptions.join("ana", "late", None)
    assert new
    assert later == Subscription(user_id="ana", group="late", event_types=None, joined_after=last)
    assert (await store.subscriptions.of_users(["ana"]))["ana"] == [subscription, later]


async def test_joining_again_changes_the_types_and_not_the_join(store: Store, publish: Publisher) -> None:
    first, _, _ = await store.subscriptions.join("ana", "team", None)
    await publish(TEAM)
    for event_types in (("a",), ("b", "a"), None, None):
        changed, new, _ = await store.subscriptions.join("ana", "team", event_types)
        assert not new
        assert changed == Subscription(
            user_id="ana", group="team", event_types=event_types, joined_after=first.joined_after
        )
        assert (await store.subscriptions.of_users(["ana"]))["ana"] == [changed]
        assert await store.subscriptions.of_group("team", 10) == [changed]


async def test_types_come_back_as_they_were_given(store: Store) -> None:
    event_types = tuple(f"{number:0>64}" for number in range(100, 0, -1))
    given, _, _ = await store.subscriptions.join("ana", "team", event_types)
    assert given.event_types == event_types
    assert (await store.subscriptions.of_users(["ana"]))["ana"] == [given]


async def test_leaving_ends_the_subscription(store: Store) -> None:
    await store.subscriptions.join("ana", "team", None)
    others = [(await store.subscriptions.join(*pair, None))[0] for pair in (("ana", "choir"), ("bob", "team"))]
    assert await store.subscriptions.leave("ana", "team")
    assert (await store.subscriptions.of_users(["ana"]))["ana"] == others[:1]
    assert await store.subscriptions.of_group("team", 10) == others[1:]


async def test_leaving_what_was_not_joined_does_nothing(store: Store) -> None:
    standing, _, _ = await store.subscriptions.join("ana", "team", None)
    assert not await store.subscriptions.leave("ana", "choir")
    assert not await store.subscriptions.leave("bob", "team")
    assert not await store.subscriptions.leave("team", "ana")
    assert (await store.subscriptions.of_users(["ana"]))["ana"] == [standing]
    assert await store.subscriptions.leave("ana", "team")
    assert not await store.subscriptions.leave("ana", "team")


async def test_joining_after_leaving_starts_afresh(store: Store, publish: Publisher) -> None:
    await store.subscriptions.join("ana", "team", ("a",))
    await publish(TEAM)
    await store.subscriptions.leave("ana", "team")
    message = await publish(TEAM)
    rejoined, new, _ = await store.subscriptions.join("ana", "team", None)
    assert new
    assert rejoined == Subscription(user_id="ana", group="team", event_types=None, joined_after=seq_of(message))
    assert (await store.subscriptions.of_users(["ana"]))["ana"] == [rejoined]
    assert await store.subscriptions.of_group("team", 10) == [rejoined]


async def test_lists_are_in_code_point_order(store: Store) -> None:
    # UTF-16 would put the emoji before the full-width tilde, a collation "a" before "B".
    names = ["B", "Z", "Za", "a", "b", "b ", "z", "\u00e9", "\uff5e", "\U0001f600"]
    for name in reversed(names):
        await store.subscriptions.join("ana", name, None)
        await store.subscriptions.join(name, "team", None)
    assert [standing.group for standing in (await store.subscriptions.of_users(["ana"]))["ana"]] == names
    assert [standing.user_id for standing in await store.subscriptions.of_group("team", 100)] == names
    assert [standing.user_id for standing in await store.subscriptions.of_group("team", 3)] == names[:3]


async def test_of_many_users_each_ones_own_are_told(store: Store) -> None:
    users = [f"user-{number}" for number in range(100)]
    for number, user in enumerate(users):
        for group in range(number % 4):
            await store.subscriptions.join(user, f"group-{(number + group) % 10}", None)
    standing = await store.subscriptions.of_users([*users, "nobody"])
    assert standing.keys() == {*users, "nobody"}
    for number, user in enumerate(users):
        groups = sorted(f"group-{(number + group) % 10}" for group in range(number % 4))
        assert [(each.user_id, each.group) for each in standing[user]] == [(user, group) for group in groups]
    assert standing["nobody"] == []
    assert await store.subscriptions.of_users([]) == {}


async def test_of_two_joins_at_once_one_is_new(store: Store) -> None:
    answers = await asyncio.gather(*(store.subscriptions.join("ana", "team", None) for _ in range(8)))
    assert sorted(new for _, new, _ in answers) == [False] * 7 + [True]
    assert len({version for _, _, version in answers}) == 1
    assert len((await store.subscriptions.of_users(["ana"]))["ana"]) == 1


async def test_of_two_leaves_at_once_one_ends_it(store: Store) -> None:
    await store.subscriptions.join("ana", "team", None)
    answers = await asyncio.gather(*(store.subscriptions.leave("ana", "team") for _ in range(8)))
    assert sum(version is not None for version in answers) == 1


async def test_what_is_committed_after_a_join_lies_beyond_it(store: Store, publish: Publisher) -> None:
    async def join_then_send(number: int) -> tuple[int, int]:
        await publish(TEAM)
        subscription, _, _ = await store.subscriptions.join(f"user-{number}", "team", None)
        return subscription.joined_after, seq_of(await publish(TEAM))

    async def send_then_join(number: int) -> tuple[int, int]:
        before = seq_of(await publish(TEAM))
        subscription, _, _ = await store.subscriptions.join(f"other-{number}", "team", None)
        return before, subscription.joined_after

    joins = await asyncio.gather(*map(join_then_send, range(10)), *map(send_then_join, range(10)))
    assert all(joined_after < sent for joined_after, sent in joins[:10])
    assert all(sent <= joined_after for sent, joined_after in joins[10:])


# Versions: how other nodes learn of changes


async def memberships(store: Store) -> int:
    return (await store.log.head()).memberships


async def test_every_change_raises_the_count_and_is_told_with_it(store: Store, publish: Publisher) -> None:
    assert await memberships(store) == 0
    await publish(TEAM)
    joined, _, version = await store.subscriptions.join("ana", "team", None)
    assert version == await memberships(store) == 1
    changed, _, version = await store.subscriptions.join("ana", "team", ("a",))
    assert version == await memberships(store) == 2
    assert await store.subscriptions.leave("ana", "team") == await memberships(store) == 3
    rejoined, _, version = await store.subscriptions.join("ana", "team", ("a",))
    assert version == await memberships(store) == 4
    assert joined != changed == rejoined


async def test_what_changes_nothing_raises_nothing(store: Store) -> None:
    await store.subscriptions.join("ana", "team", ("a",))
    await store.subscriptions.join("bob", "team", None)
    standing, new, version = await store.subscriptions.join("ana", "team", ("a",))
    assert (new, version) == (False, 1)
    assert await store.subscriptions.leave("ana", "choir") is None
    assert await memberships(store) == 2
    assert await store.subscriptions.changed_since(0, 10) == [
        Membership("ana", "team", standing, 1),
        Membership("bob", "team", (await store.subscriptions.of_users(["bob"]))["bob"][0], 2),
    ]


async def test_what_has_changed_is_told_as_it_stands_by_its_last_change(store: Store, publish: Publisher) -> None:
    for user in ("ana", "bob", "eve"):
        await store.subscriptions.join(user, "team", None)
    await publish(TEAM)
    await store.subscriptions.leave("bob", "team")
    changed, _, _ = await store.subscriptions.join("ana", "team", ("b", "a"))
    choir, _, _ = await store.subscriptions.join("bob", "choir", None)
    [eve] = (await store.subscriptions.of_users(["eve"]))["eve"]
    changes = [
        Membership("eve", "team", eve, 3),
        Membership("bob", "team", None, 4),
        Membership("ana", "team", changed, 5),
        Membership("bob", "choir", choir, 6),
    ]
    assert await store.subscriptions.changed_since(0, 10) == changes
    for known in range(3, 7):
        assert await store.subscriptions.changed_since(known, 10) == changes[known - 2 :]
    assert await store.subscriptions.changed_since(0, 2) == changes[:2]
    assert await store.subscriptions.changed_since(changes[1].version, 2) == changes[2:]


async def test_messages_and_changes_are_in_one_order(store: Store, clock: ManualClock) -> None:
    """Whoever has applied all changes that a message's head counts knows every join that the message lies beyond."""

    async def send(number: int) -> tuple[int, int]:
        draft = Draft(receiver=TEAM, event_type="note", data=b"{}", persist=True)
        head = (await store.log.append([Entry(draft, f"e{number}", False)], clock())).head
        return head.seq, head.memberships

    async def join(number: int) -> tuple[int, int]:
        subscription, _, version = await store.subscriptions.join(f"user-{number}", "team", None)
        return subscription.joined_after, version

    calls = [call for number in range(20) for call in (send(number), join(number))]
    answers = await asyncio.gather(*calls)
    for seq, known in answers[::2]:
        for joined_after, version in answers[1::2]:
            assert (version <= known) == (joined_after < seq)
    assert await store.log.head() == LogHead(epoch=EPOCH, seq=20, memberships=20)


async def test_joins_and_leaves_at_once_are_counted_one_by_one(store: Store) -> None:
    users = [f"user-{number}" for number in range(10)]
    joins = await asyncio.gather(*(store.subscriptions.join(user, "team", None) for user in users))
    leaves = await asyncio.gather(*(store.subscriptions.leave(user, "team") for user in users))
    assert sorted(version for _, _, version in joins) == list(range(1, 11))
    assert sorted(version or 0 for version in leaves) == list(range(11, 21))
    assert await memberships(store) == 20
