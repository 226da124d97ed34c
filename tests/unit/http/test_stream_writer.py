"""The writer for any ASGI server, against one whose socket the test opens and shuts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from litestar.types import HTTPDisconnectEvent, HTTPRequestEvent
from litestar.types import Message as AsgiMessage

from sse_adapters.http.frames import BatchEncoder
from sse_adapters.http.stream_writer import AsgiFrameWriter
from tests.unit.http.one_stream import MESSAGE, RETRY_MS, Stream


class Socket:
    """An ASGI server's side of one response: `send` suspends while it is full, as uvicorn's does."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.complete = False
        self.fails: Exception | None = None
        self.left = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()

    async def send(self, event: AsgiMessage) -> None:
        if not self.writable.is_set():
            await self.writable.wait()
        if self.fails is not None:
            raise self.fails
        assert event["type"] == "http.response.body"
        self.written.append(event["body"])
        self.complete = not event["more_body"]

    async def receive(self) -> HTTPRequestEvent | HTTPDisconnectEvent:
        await self.left.wait()
        return {"type": "http.disconnect"}


@pytest.fixture
async def connection() -> Socket:
    return Socket()


@pytest.fixture
async def drains() -> list[bool]:
    return []


@pytest.fixture
async def writer(connection: Socket, drains: list[bool]) -> AsgiFrameWriter:
    writer = AsgiFrameWriter(BatchEncoder(), RETRY_MS, connection.receive, connection.send)
    writer.drained = lambda: drains.append(writer.blocked)
    return writer


@pytest.fixture
async def stream() -> Stream:
    return Stream()


@pytest.fixture
async def serving(writer: AsgiFrameWriter, stream: Stream) -> AsyncIterator[asyncio.Task[None]]:
    """The server's task, waiting for the reader to leave or the hub to end the stream."""
    task = asyncio.create_task(writer.serve(stream))
    await turns()
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def turns() -> None:
    """Let every task that can go on do so until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_write_is_done_when_the_call_returns(writer: AsgiFrameWriter, connection: Socket) -> None:
    writer.begin("0-e", {"a": 1}, None)
    writer.beat("1-e")
    writer.control("sse.unread", {"total": 1})
    writer.give([(MESSAGE, "1-e")])
    assert connection.written == [
        b'retry: 2000\n\nid: 0-e\n\nevent: sse.open\ndata: {"a":1}\n\n',
        b":\nid: 1-e\n\n",
        b'event: sse.unread\ndata: {"total":1}\n\n',
        b"id: 1-e\nevent: t\ndata: 1\n\n",
    ]
    assert not writer.blocked


async def test_a_full_socket_blocks_until_it_has_drained(
    writer: AsgiFrameWriter, connection: Socket, drains: list[bool]
) -> None:
    connection.writable.clear()
    writer.beat("1-e")
    assert writer.blocked
    await turns()
    assert (connection.written, drains) == ([], [])
    connection.writable.set()
    await turns()
    assert connection.written == [b":\nid: 1-e\n\n"]
    assert drains == [False]
    assert not writer.blocked


async def test_a_server_may_suspend_more_than_once(writer: AsgiFrameWriter, connection: Socket) -> None:
    async def hesitant(event: AsgiMessage) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        await asyncio.wait_for(connection.writable.wait(), None)
        await connection.send(event)

    hesitating = AsgiFrameWriter(BatchEncoder(), RETRY_MS, connection.receive, hesitant)
    hesitating.beat("1-e")
    await turns()
    assert connection.written == [b":\nid: 1-e\n\n"]
    assert not hesitating.blocked


async def test_closing_writes_the_last_frame_and_releases_the_server(
    writer: AsgiFrameWriter, connection: Socket, serving: asyncio.Task[None], stream: Stream
) -> None:
    writer.close("shutdown", reconnect=True, retry_ms=500)
    assert connection.written == [b'event: sse.close\ndata: {"reason":"shutdown","reconnect":true}\nretry: 500\n\n']
    assert connection.complete
    await turns()
    assert serving.done()
    assert not serving.cancelled()
    assert stream.left
    writer.close("again", reconnect=True)
    writer.beat("1-e")
    assert len(connection.written) == 1


@pytest.mark.parametrize("noticed", [True, False])
async def test_closing_a_full_socket_gives_the_reader_up_at_once(
    writer: AsgiFrameWriter, connection: Socket, serving: asyncio.Task[None], noticed: bool
) -> None:
    connection.writable.clear()
    if noticed:
        writer.beat("1-e")
    writer.close("timeout", reconnect=True)
    await turns()
    assert serving.done()
    assert not serving.cancelled()
    connection.writable.set()
    await turns()
    assert connection.written == []


async def test_closing_before_anyone_waits_leaves_nobody_waiting(
    writer: AsgiFrameWriter, connection: Socket, stream: Stream
) -> None:
    writer.close("shutdown", reconnect=True)
    await writer.serve(stream)
    assert stream.left


async def test_a_reader_that_leaves_ends_it(
    writer: AsgiFrameWriter, connection: Socket, drains: list[bool], serving: asyncio.Task[None], stream: Stream
) -> None:
    connection.writable.clear()
    writer.beat("1-e")
    connection.left.set()
    await turns()
    assert serving.done()
    assert stream.left
    connection.writable.set()
    await turns()
    assert (connection.written, drains) == ([], [])


async def test_a_cancellation_from_outside_is_passed_on(serving: asyncio.Task[None], stream: Stream) -> None:
    serving.cancel()
    await turns()
    assert serving.cancelled()
    assert stream.left


@pytest.mark.parametrize("blocked", [True, False])
async def test_a_vanished_reader_is_no_error(
    writer: AsgiFrameWriter,
    connection: Socket,
    caplog: pytest.LogCaptureFixture,
    drains: list[bool],
    serving: asyncio.Task[None],
    blocked: bool,
) -> None:
    if blocked:
        connection.writable.clear()
    connection.fails = ConnectionResetError()
    writer.beat("1-e")
    connection.writable.set()
    await turns()
    assert serving.done()
    assert (drains, caplog.records) == ([], [])


async def test_a_server_that_fails_is_logged_and_fails_no_one_else(
    writer: AsgiFrameWriter, connection: Socket, caplog: pytest.LogCaptureFixture
) -> None:
    connection.fails = RuntimeError("broken")
    with caplog.at_level(logging.ERROR, "sse_hub.http"):
        writer.beat("1-e")
        writer.beat("2-e")
    assert len(caplog.records) == 1
