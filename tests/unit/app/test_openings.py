"""Streams that open at the same time, and what one that opens need not ask the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sse_adapters.memory import MemoryStore
from sse_domain.cursor import encode_level
from sse_domain.errors import StoreUnavailable
from tests.unit.app.conftest import FakeClock, Parts, RecordingWriter, start_parts

READS = {"log": ("head", "replay"), "inbox": ("unread", "delivered"), "subscriptions": ("of_users",)}


@contextmanager
def counted(store: MemoryStore) -> Iterator[dict[str, int]]:
    """How often each of these is asked of the store meanwhile."""
    counts = {name: 0 for names in READS.values() for name in names}

    def counting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*arguments: Any) -> Any:
            counts[name] += 1
            return await method(*arguments)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for port, names in READS.items():
            for name in names:
                patch.setattr(getattr(store, port), name, counting(name, getattr(getattr(store, port), name)))
        yield counts


async def open_all(node: Parts, users: list[str], cursor: str | None = None) -> list[RecordingWriter]:
    opened = await asyncio.gather(*(node.open(user_id=user, cursor=cursor) for user in users))
    return [writer for _, writer in opened]


async def test_streams_that_open_together_are_looked_up_together_and_each_is_told_its_own(node: Parts) -> None:
    users = [f"user-{number}" for number in range(10)]
    for number, user in enumerate(users):
        await node.hub.subscribe(user, f"group-{number}")
        for _ in range(number):
            await node.hub.send_to_user(user, "t", number, persist=True)
    with counted(node.container.store()) as asked:
        writers = await open_all(node, users)
    assert asked == {"head": 0, "replay": 9, "unread": 1, "delivered": 1, "of_users": 1}
    for number, (user, writer) in enumerate(zip(users, writers, strict=True)):
        [said] = writer.told("sse.open")
        assert (said["user_id"], said["groups"]) == (user, [f"group-{number}"])
        assert isinstance(said["unread"], dict)
        assert said["unread"]["total"] == number == len(writer.given)


async def test_streams_that_resume_together_ask_for_the_head_once(node: Parts) -> None:
    await node.hub.send_to_user("bob", "t", 1, persist=True)
    cursor = encode_level(0, node.container.flow().head.epoch)
    with counted(node.container.store()) as asked:
        ada, bob = await open_all(node, ["ada", "bob"], cursor=cursor)
    assert asked == {"head": 1, "replay": 1, "unread": 1, "delivered": 0, "of_users": 1}
    assert (ada.types, bob.types) == ([], ["t"])


async def test_a_stream_of_a_user_who_has_another_does_not_ask_for_memberships_again(node: Parts) -> None:
    await node.hub.subscribe("ada", "team")
    await node.open(user_id="ada")
    with counted(node.container.store()) as asked:
        _, writer = await node.open(user_id="ada")
    assert asked["of_users"] == 0
    assert writer.told("sse.open")[0]["groups"] == ["team"]


async def test_when_the_store_does_not_answer_none_of_them_opens_and_nothing_stays_behind(node: Parts) -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailable("gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node.container.store().inbox, "unread", fail)
        opening = [node.open(user_id=user) for user in ("ada", "bob", "ada")]
        failures = await asyncio.gather(*opening, return_exceptions=True)
    assert [type(failure) for failure in failures] == [StoreUnavailable] * 3
    assert not node.container.hub().users
    assert len(await open_all(node, ["ada", "bob"])) == 2


async def test_a_stream_for_which_there_is_nothing_does_not_read_the_log(node: Parts) -> None:
    await node.hub.send_to_user("bob", "t", 1, persist=True)
    await node.hub.broadcast("read", 2, persist=True)
    await node.hub.mark_read("ada", everything=True)
    epoch = node.container.flow().head.epoch
    with counted(node.container.store()) as asked:
        opened = [await node.open(user_id="ada", cursor=cursor) for cursor in (None, encode_level(0, epoch))]
    assert asked["replay"] == 0
    await node.hub.broadcast("live", 3, persist=True)
    for stream, writer in opened:
        assert writer.begun == encode_level(0, epoch)
        assert stream.cursor() == encode_level(3, epoch)
        assert writer.types == ["live"]


async def test_what_is_sent_after_the_unread_are_counted_is_not_passed_over() -> None:
    node = await start_parts(FakeClock())

    async def send() -> None:
        await node.hub.send_to_user("ada", "t", 1, persist=True)

    with after_the_count(node, send):
        _, writer = await node.open(user_id="ada")
    assert writer.types == ["t"]


async def test_what_a_membership_changed_after_the_count_lets_in_is_not_passed_over() -> None:
    node = await start_parts(FakeClock())
    await node.hub.subscribe("ada", "team", ["other"])
    await node.hub.send_to_group("team", "t", 1, persist=True)

    async def widen() -> None:
        await node.hub.subscribe("ada", "team")

    with after_the_count(node, widen):
        _, writer = await node.open(user_id="ada")
    assert writer.types == ["t"]


@contextmanager
def after_the_count(node: Parts, happens: Callable[[], Any]) -> Iterator[None]:
    """This happens when the store has counted what is unread, and before its answer arrives."""
    inbox = node.container.store().inbox
    count = inbox.unread

    async def overtaken(*arguments: Any) -> Any:
        counts = await count(*arguments)
        await happens()
        return counts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbox, "unread", overtaken)
        yield
