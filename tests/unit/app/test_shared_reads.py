"""Streams of one audience that wait for the same read of the log share it, and only those."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from sse_app.connection import Connection
from sse_domain.cursor import encode_level
from sse_domain.delivery import Delivery
from sse_domain.errors import StoreUnavailable
from sse_domain.message import Priority
from sse_domain.replay import ReplayPage, StreamRequest
from tests.unit.app.conftest import FakeClock, Parts, RecordingWriter, start_parts


class Reads:
    """How often the log was read for streams. While it is `failing` no read succeeds."""

    def __init__(self) -> None:
        self.made = 0
        self.failing = False


@contextmanager
def counted(node: Parts) -> Iterator[Reads]:
    log, reads = node.container.store().log, Reads()
    replay = log.replay

    async def count(*arguments: Any) -> Any:
        reads.made += 1
        if reads.failing:
            raise StoreUnavailable("gone")
        return await replay(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "replay", count)
        yield reads


@asynccontextmanager
async def together(node: Parts) -> AsyncIterator[Reads]:
    """No stream that begins to wait for the log in this block is read for before its end."""
    flow = node.container.flow()
    with counted(node) as reads:
        flow._concurrent_reads = 0
        yield reads
        flow._concurrent_reads = 16
        reader = asyncio.create_task(flow._read_for_all())
        flow.readers.add(reader)
        await asyncio.gather(reader, return_exceptions=True)


async def open_stream(node: Parts, **request: Any) -> tuple[Connection, RecordingWriter]:
    """From the log's beginning, unless it is said where."""
    request.setdefault("cursor", encode_level(0, node.container.flow().head.epoch))
    writer = RecordingWriter()
    return await node.hub.open(StreamRequest(**request), writer), writer


async def fill(node: Parts) -> None:
    for user in ("ada", "bob"):
        await node.hub.send_to_user(user, "a", f"to {user}", persist=True)
    for client in ("phone", "desk"):
        await node.hub.send_to_client(client, "a", f"to {client}", persist=True)
    for group in ("red", "blue"):
        await node.hub.send_to_group(group, "a", f"to {group}", persist=True)
    await node.hub.broadcast("a", "to all", persist=True)
    await node.hub.broadcast("b", "another to all", persist=True)


async def test_streams_of_one_audience_that_come_back_together_cost_one_read(node: Parts) -> None:
    await fill(node)
    async with together(node) as reads:
        writers = [(await open_stream(node, user_id="ada"))[1] for _ in range(20)]
    assert reads.made == 1
    assert {tuple(message.data for message, _ in writer.given) for writer in writers} == {
        (b'"to ada"', b'"to all"', b'"another to all"')
    }
    assert node.container.flow().replayed == 60


PAIRS: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({"user_id": "ada"}, {"user_id": "bob"}),
    ({"user_id": "ada"}, {}),
    ({"client_id": "phone"}, {"client_id": "desk"}),
    ({"client_id": "phone"}, {}),
    ({"user_id": "ada", "client_id": "phone"}, {"user_id": "ada"}),
    ({"groups": ("red",)}, {"groups": ("blue",)}),
    ({"groups": ("red",)}, {"groups": ("red", "blue")}),
    ({"event_types": ("a",)}, {"event_types": ("b",)}),
    ({"event_types": ("a",)}, {}),
    ({"user_id": "ada", "groups": ("red",), "cursor": None}, {"user_id": "ada", "groups": ("red",)}),
)


@pytest.mark.parametrize(("one", "other"), PAIRS)
async def test_streams_of_different_audiences_are_each_given_their_own(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    await check_pair(one, other)
    await check_pair(other, one)


async def check_pairs() -> None:
    """All of them, for the bugs sown in tests/mutants."""
    for one, other in PAIRS:
        await check_pair(one, other)
        await check_pair(other, one)


async def check_pair(*requests: dict[str, Any]) -> None:
    node = await start_parts(FakeClock())
    await fill(node)
    alone = []
    for request in requests:
        stream, writer = await open_stream(node, **request)
        await node.settle()
        stream.delivery.given = [0, 0, 0]  # so that it does not count as given
        stream.leave()
        alone.append(writer.given)
    async with together(node) as reads:
        writers = [(await open_stream(node, **request))[1] for request in requests]
    assert [writer.given for writer in writers] == alone
    assert alone[0] != alone[1]
    assert reads.made == 2


async def test_a_client_without_a_name_that_was_sent_something_is_read_for_by_itself() -> None:
    node = await start_parts(FakeClock(), stream_buffer_messages=2)
    streams = [await open_stream(node) for _ in range(3)]
    addressed = streams[1][0]
    for _, writer in streams:
        writer.block_after_next = True
    for number in range(4):
        await node.hub.broadcast("t", number, persist=True)
    await node.hub.send_to_client(addressed.client_id, "t", "to one", persist=True)
    async with together(node) as reads:
        for _, writer in streams:
            writer.release()
    assert reads.made == 2
    assert [[message.data for message, _ in writer.given][4:] for _, writer in streams] == [[], [b'"to one"'], []]


async def test_a_group_that_is_left_while_its_user_is_read_for_is_given_to_none_of_the_streams(node: Parts) -> None:
    await node.hub.subscribe("ada", "red")
    await fill(node)
    async with together(node) as reads:
        writers = [(await open_stream(node, user_id="ada"))[1] for _ in range(3)]
        await node.hub.unsubscribe("ada", "red")
    assert reads.made == 1
    assert [len(writer.given) for writer in writers] == [3, 3, 3]


async def test_what_comes_of_a_read_that_fails_is_told_to_all_and_it_is_made_again_for_all(node: Parts) -> None:
    await fill(node)
    async with together(node) as reads:
        writers = [(await open_stream(node, user_id="ada"))[1] for _ in range(3)]
        reads.failing = True
    assert [writer.given for writer in writers] == [[], [], []]
    async with together(node) as reads:
        await node.container.heartbeat().sweep()
    assert reads.made == 1
    assert [len(writer.given) for writer in writers] == [3, 3, 3]


async def test_who_leaves_while_it_waits_costs_no_read_and_is_waited_for_no_more(node: Parts) -> None:
    await fill(node)
    flow = node.container.flow()
    async with together(node) as reads:
        for stream, _ in [await open_stream(node, user_id=user) for user in ("ada", "ada", "bob")]:
            stream.leave()
        assert flow.waiting_reads == 3
    assert (reads.made, flow.waiting_reads) == (0, 0)
    async with together(node) as reads:
        (leaving, gone), (_, staying) = [await open_stream(node, user_id="ada") for _ in range(2)]
        leaving.leave()
    assert (reads.made, len(gone.given), len(staying.given)) == (1, 0, 3)


async def test_a_stream_that_fails_keeps_no_page_from_the_others(node: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(node)
    page = Delivery.page
    async with together(node):
        streams = [await open_stream(node, user_id="ada") for _ in range(3)]
        streams[0][1].broken = True

        def fails_for_one(delivery: Delivery, answer: ReplayPage) -> None:
            if delivery is streams[1][0].delivery:
                raise RuntimeError("a bug")
            page(delivery, answer)

        monkeypatch.setattr(Delivery, "page", fails_for_one)
    assert [len(writer.given) for _, writer in streams] == [0, 0, 3]
    assert [writer.closed for _, writer in streams] == [("internal_error", True), ("internal_error", True), None]


async def test_a_shared_page_that_is_not_the_last_is_followed_by_shared_ones(node: Parts) -> None:
    for number in range(250):
        await node.hub.send_to_user("ada", "t", number, persist=True, priority=Priority(number % 3))
    async with together(node) as reads:
        writers = [(await open_stream(node, user_id="ada"))[1] for _ in range(4)]
    assert {len(writer.given) for writer in writers} == {250}
    assert writers[0].given == writers[3].given
    assert reads.made < 10
