"""Subscriptions: joining, changing and leaving groups (SPEC §2 Subscriptions, §3.6)."""

from __future__ import annotations

import asyncio

from sse_domain.message import Receiver
from sse_domain.subscription import Subscription
from tests.support.stores import Publisher, Store, seq_of

TEAM = Receiver.group("team")


async def test_nobody_is_subscribed_at_first(store: Store) -> None:
    assert await store.subscriptions.of_user("ana") == []
    assert await store.subscriptions.of_group("team", 10) == []


async def test_a_subscription_begins_at_the_head_of_the_log(store: Store, publish: Publisher) -> None:
    subscription, new = await store.subscriptions.join("ana", "early", ("b", "a"))
    assert new
    assert subscription == Subscription(user_id="ana", group="early", event_types=("b", "a"), joined_after=0)
    last = seq_of([await publish(TEAM) for _ in range(3)][-1])
    later, new = await store.subscriptions.join("ana", "late", None)
    assert new
    assert later == Subscription(user_id="ana", group="late", event_types=None, joined_after=last)
    assert await store.subscriptions.of_user("ana") == [subscription, later]


async def test_joining_again_changes_the_types_and_not_the_join(store: Store, publish: Publisher) -> None:
    first, _ = await store.subscriptions.join("ana", "team", None)
    await publish(TEAM)
    for event_types in (("a",), ("b", "a"), None, None):
        changed, new = await store.subscriptions.join("ana", "team", event_types)
        assert not new
        assert changed == Subscription(
            user_id="ana", group="team", event_types=event_types, joined_after=first.joined_after
        )
        assert await store.subscriptions.of_user("ana") == [changed]
        assert await store.subscriptions.of_group("team", 10) == [changed]


async def test_types_come_back_as_they_were_given(store: Store) -> None:
    event_types = tuple(f"{number:0>64}" for number in range(100, 0, -1))
    given, _ = await store.subscriptions.join("ana", "team", event_types)
    assert given.event_types == event_types
    assert await store.subscriptions.of_user("ana") == [given]


async def test_leaving_ends_the_subscription(store: Store) -> None:
    await store.subscriptions.join("ana", "team", None)
    others = [(await store.subscriptions.join(*pair, None))[0] for pair in (("ana", "choir"), ("bob", "team"))]
    assert await store.subscriptions.leave("ana", "team")
    assert await store.subscriptions.of_user("ana") == others[:1]
    assert await store.subscriptions.of_group("team", 10) == others[1:]


async def test_leaving_what_was_not_joined_does_nothing(store: Store) -> None:
    standing, _ = await store.subscriptions.join("ana", "team", None)
    assert not await store.subscriptions.leave("ana", "choir")
    assert not await store.subscriptions.leave("bob", "team")
    assert not await store.subscriptions.leave("team", "ana")
    assert await store.subscriptions.of_user("ana") == [standing]
    assert await store.subscriptions.leave("ana", "team")
    assert not await store.subscriptions.leave("ana", "team")


async def test_joining_after_leaving_starts_afresh(store: Store, publish: Publisher) -> None:
    await store.subscriptions.join("ana", "team", ("a",))
    await publish(TEAM)
    await store.subscriptions.leave("ana", "team")
    message = await publish(TEAM)
    rejoined, new = await store.subscriptions.join("ana", "team", None)
    assert new
    assert rejoined == Subscription(user_id="ana", group="team", event_types=None, joined_after=seq_of(message))
    assert await store.subscriptions.of_user("ana") == [rejoined]
    assert await store.subscriptions.of_group("team", 10) == [rejoined]


async def test_lists_are_in_code_point_order(store: Store) -> None:
    # UTF-16 would put the emoji before the full-width tilde, a collation "a" before "B".
    names = ["B", "Z", "Za", "a", "b", "b ", "z", "\u00e9", "\uff5e", "\U0001f600"]
    for name in reversed(names):
        await store.subscriptions.join("ana", name, None)
        await store.subscriptions.join(name, "team", None)
    assert [standing.group for standing in await store.subscriptions.of_user("ana")] == names
    assert [standing.user_id for standing in await store.subscriptions.of_group("team", 100)] == names
    assert [standing.user_id for standing in await store.subscriptions.of_group("team", 3)] == names[:3]


async def test_of_two_joins_at_once_one_is_new(store: Store) -> None:
    answers = await asyncio.gather(*(store.subscriptions.join("ana", "team", None) for _ in range(8)))
    assert sorted(new for _, new in answers) == [False] * 7 + [True]
    assert len(await store.subscriptions.of_user("ana")) == 1


async def test_of_two_leaves_at_once_one_ends_it(store: Store) -> None:
    await store.subscriptions.join("ana", "team", None)
    answers = await asyncio.gather(*(store.subscriptions.leave("ana", "team") for _ in range(8)))
    assert sorted(answers) == [False] * 7 + [True]


async def test_what_is_committed_after_a_join_lies_beyond_it(store: Store, publish: Publisher) -> None:
    async def join_then_send(number: int) -> tuple[int, int]:
        await publish(TEAM)
        subscription, _ = await store.subscriptions.join(f"user-{number}", "team", None)
        return subscription.joined_after, seq_of(await publish(TEAM))

    async def send_then_join(number: int) -> tuple[int, int]:
        before = seq_of(await publish(TEAM))
        subscription, _ = await store.subscriptions.join(f"other-{number}", "team", None)
        return before, subscription.joined_after

    joins = await asyncio.gather(*map(join_then_send, range(10)), *map(send_then_join, range(10)))
    assert all(joined_after < sent for joined_after, sent in joins[:10])
    assert all(sent <= joined_after for sent, joined_after in joins[10:])
