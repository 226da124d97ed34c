"""`sse.unread`: told after the counts change, once for all that happened since."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from sse_app.fan_out import RUN_MESSAGES
from sse_app.sending import draft
from sse_app.unread import USERS_AT_ONCE
from sse_domain.errors import StoreUnavailable
from sse_domain.log import Entry
from sse_domain.message import Receiver
from tests.unit.app.conftest import Parts

ADA = Receiver.user("ada")


async def test_counts_are_told_after_they_change_and_only_then(node: Parts) -> None:
    _, writer = await node.open(user_id="ada", unread=True)
    watch = node.container.unread()
    await watch.flush()
    assert writer.told("sse.unread") == []

    await node.hub.subscribe("ada", "team")
    await node.hub.send_to_user("ada", "a", 1, persist=True)
    await node.hub.send_to_group("team", "b", 2, persist=True)
    await node.hub.broadcast("c", 3, persist=True)
    await node.hub.send_to_user("ada", "ephemeral", 4)
    await watch.flush()
    [counts] = writer.told("sse.unread")
    assert counts["total"] == 3
    assert counts["by_group"] == {"team": 1}

    await node.hub.mark_read("ada", everything=True)
    await watch.flush()
    await watch.flush()
    assert [told["total"] for told in writer.told("sse.unread")] == [3, 0]


async def test_an_expiry_changes_the_counts_by_itself(node: Parts) -> None:
    _, writer = await node.open(user_id="ada", unread=True)
    await node.hub.send_to_user("ada", "short", 1, persist=True, ttl=10)
    watch = node.container.unread()
    await watch.flush()
    node.clock.advance(9.999999)
    await watch.flush()
    node.clock.advance(0.000001)
    await watch.flush()
    assert [told["total"] for told in writer.told("sse.unread")] == [1, 0]


async def test_a_blocked_stream_is_told_the_newest_counts_when_it_drains(node: Parts) -> None:
    _, writer = await node.open(user_id="ada", unread=True)
    writer.blocked = True
    watch = node.container.unread()
    for number in range(3):
        await node.hub.send_to_user("ada", "a", number, persist=True)
        await watch.flush()
    writer.release()
    assert [told["total"] for told in writer.told("sse.unread")] == [3]


async def test_a_user_without_watching_streams_is_forgotten(node: Parts) -> None:
    stream, writer = await node.open(user_id="ada", unread=True)
    stream.leave()
    await node.hub.send_to_user("ada", "a", 1, persist=True)
    await node.container.unread().flush()
    assert writer.told("sse.unread") == []


async def test_a_second_stream_does_not_keep_the_first_from_being_told(node: Parts) -> None:
    _, first = await node.open(user_id="ada", unread=True)
    await node.hub.send_to_user("ada", "a", 1, persist=True)
    _, second = await node.open(user_id="ada", unread=True)
    await node.container.unread().flush()
    assert [told["total"] for told in first.told("sse.unread")] == [1]
    assert second.told("sse.unread") == []


async def test_counts_are_told_also_after_a_mark_whose_answer_was_lost(
    node: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.hub.send_to_user("ada", "a", 1, persist=True)
    _, writer = await node.open(user_id="ada", unread=True)
    await node.container.unread().flush()
    inbox = node.container.store().inbox
    mark = inbox.mark_read

    async def lose_the_answer(*arguments: Any) -> int:
        await mark(*arguments)
        raise StoreUnavailable("the reply was lost")

    with monkeypatch.context() as patch:
        patch.setattr(inbox, "mark_read", lose_the_answer)
        with pytest.raises(StoreUnavailable):
            await node.hub.mark_read("ada", everything=True)
    assert (await node.hub.mark_read("ada", everything=True)).marked == 0
    await node.container.unread().flush()
    assert [told["total"] for told in writer.told("sse.unread")] == [0]


async def test_counts_are_told_also_when_a_catch_up_is_broken_off(node: Parts) -> None:
    _, writer = await node.open(user_id="ada", unread=True)
    await node.container.unread().flush()
    elsewhere = [Entry(draft(ADA, "a", n, persist=True), f"x{n}", may_repeat=False) for n in range(RUN_MESSAGES + 1)]
    await node.container.store().log.append(elsewhere, node.clock.now())
    catching_up = asyncio.create_task(node.container.feed().catch_up())
    await asyncio.sleep(0)
    catching_up.cancel()
    await asyncio.gather(catching_up, return_exceptions=True)
    assert len(writer.given) == RUN_MESSAGES, "the first run was handed out, and the rest was not"
    await node.container.unread().flush()
    assert [told["total"] for told in writer.told("sse.unread")] == [RUN_MESSAGES + 1]


async def test_after_a_broadcast_all_who_watch_are_counted_for_at_once_and_each_is_told_its_own(
    node: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [f"user-{number}" for number in range(USERS_AT_ONCE + 1)]
    writers = [(await node.open(user_id=user, unread=True))[1] for user in users]
    await node.hub.send_to_user("user-7", "a", 1, persist=True)
    inbox, asked = node.container.store().inbox, []
    count = inbox.unread

    async def counted(user_ids: Sequence[str], now: Any) -> Any:
        asked.append(len(user_ids))
        if len(asked) == 1:
            raise StoreUnavailable("gone")
        return await count(user_ids, now)

    monkeypatch.setattr(inbox, "unread", counted)
    await node.hub.broadcast("b", 2, persist=True)
    with pytest.raises(StoreUnavailable):
        await node.container.unread().flush()
    assert not any(writer.told("sse.unread") for writer in writers)
    await node.container.unread().flush()
    assert asked == [USERS_AT_ONCE, USERS_AT_ONCE, 1]
    for user, writer in zip(users, writers, strict=True):
        [told] = writer.told("sse.unread")
        assert (told["user_id"], told["total"]) == (user, 2 if user == "user-7" else 1)
