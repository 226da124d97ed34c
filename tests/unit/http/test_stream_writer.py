"""The writer against a server whose socket the test opens and shuts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from litestar.types import HTTPDisconnectEvent, HTTPRequestEvent
from litestar.types import Message as AsgiMessage

from sse_adapters.http.direct_writer import DirectFrameWriter
from sse_adapters.http.frames import BatchEncoder
from sse_adapters.http.stream_writer import AsgiFrameWriter
from sse_domain.message import BROADCAST, Message, Priority

MESSAGE = Message(
    event_id="e1",
    seq=1,
    event_type="t",
    receiver=BROADCAST,
    priority=Priority.NORMAL,
    data=b"1",
    created_at=datetime(2025, 1, 1, tzinfo=UTC),
)


class Socket:
    """An ASGI server's side of one response: `send` suspends while it is full, as uvicorn's does."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.complete = False
        self.aborted = False
        self.closing = False
        self.fails: Exception | None = None
        self.left = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()

    def is_closing(self) -> bool:
        return self.closing

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

    def abort(self) -> None:
        self.aborted = True
        self.left.set()


@pytest.fixture
async def connection() -> Socket:
    return Socket()


@pytest.fixture
async def drains() -> list[bool]:
    return []


@pytest.fixture
async def writer(connection: Socket, drains: list[bool]) -> AsyncIterator[AsgiFrameWriter]:
    transport: Any = connection
    writer = AsgiFrameWriter(connection.send, BatchEncoder(), transport)
    writer.drained = lambda: drains.append(writer.blocked)
    yield writer
    writer.abandon()


async def turns() -> None:
    """Let every task that can go on do so until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_write_is_done_when_the_call_returns(writer: AsgiFrameWriter, connection: Socket) -> None:
    writer.retry(2000)
    writer.stand("1-e", heartbeat=True)
    writer.control("sse.open", {"a": 1})
    writer.give([(MESSAGE, "1-e")])
    assert connection.written == [
        b"retry: 2000\n\n",
        b":\nid: 1-e\n\n",
        b'event: sse.open\ndata: {"a":1}\n\n',
        b"id: 1-e\nevent: t\ndata: 1\n\n",
    ]
    assert not writer.blocked


async def test_a_full_socket_blocks_until_it_has_drained(
    writer: AsgiFrameWriter, connection: Socket, drains: list[bool]
) -> None:
    connection.writable.clear()
    writer.stand("1-e", heartbeat=False)
    assert writer.blocked
    await turns()
    assert (connection.written, drains) == ([], [])
    connection.writable.set()
    await turns()
    assert connection.written == [b"id: 1-e\n\n"]
    assert drains == [False]
    assert not writer.blocked


async def test_what_is_written_while_blocked_follows_in_order(
    writer: AsgiFrameWriter, connection: Socket, drains: list[bool]
) -> None:
    connection.writable.clear()
    for cursor in ("1-e", "2-e", "3-e"):
        writer.stand(cursor, heartbeat=False)
    connection.writable.set()
    await turns()
    assert b"".join(connection.written) == b"id: 1-e\n\nid: 2-e\n\nid: 3-e\n\n"
    assert drains == [False]


async def test_a_server_may_suspend_more_than_once(writer: AsgiFrameWriter, connection: Socket) -> None:
    async def hesitant(event: AsgiMessage) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        await asyncio.wait_for(connection.writable.wait(), None)
        await connection.send(event)

    hesitating = AsgiFrameWriter(hesitant, BatchEncoder(), None)
    hesitating.stand("1-e", heartbeat=False)
    hesitating.stand("2-e", heartbeat=False)
    await turns()
    assert b"".join(connection.written) == b"id: 1-e\n\nid: 2-e\n\n"
    assert not hesitating.blocked


async def test_closing_writes_the_last_frame_and_releases_the_server(
    writer: AsgiFrameWriter, connection: Socket
) -> None:
    serving = asyncio.create_task(writer.over(connection.receive))
    await turns()
    writer.close("shutdown", reconnect=True, retry_ms=500)
    assert connection.written == [b'event: sse.close\ndata: {"reason":"shutdown","reconnect":true}\nretry: 500\n\n']
    assert connection.complete
    await turns()
    assert serving.done()
    assert not serving.cancelled()
    assert not connection.aborted
    writer.close("again", reconnect=True)
    writer.stand("1-e", heartbeat=False)
    assert len(connection.written) == 1


@pytest.mark.parametrize("noticed", [True, False])
async def test_closing_a_full_socket_cuts_it_off_at_once(
    writer: AsgiFrameWriter, connection: Socket, noticed: bool
) -> None:
    serving = asyncio.create_task(writer.over(connection.receive))
    await turns()
    connection.writable.clear()
    if noticed:
        writer.stand("1-e", heartbeat=False)
    writer.close("timeout", reconnect=True)
    assert connection.aborted
    await turns()
    assert serving.done()
    assert not serving.cancelled()
    connection.writable.set()
    await turns()
    assert connection.written == []


async def test_without_a_transport_a_stalled_write_is_given_up(connection: Socket) -> None:
    writer = AsgiFrameWriter(connection.send, BatchEncoder(), None)
    serving = asyncio.create_task(writer.over(connection.receive))
    await turns()
    connection.writable.clear()
    writer.stand("1-e", heartbeat=False)
    writer.close("timeout", reconnect=True)
    await turns()
    assert serving.done()
    connection.writable.set()
    await turns()
    assert connection.written == []


async def test_closing_before_anyone_waits_leaves_nobody_waiting(writer: AsgiFrameWriter, connection: Socket) -> None:
    writer.close("shutdown", reconnect=True)
    await writer.over(connection.receive)


async def test_a_reader_that_leaves_ends_it(writer: AsgiFrameWriter, connection: Socket, drains: list[bool]) -> None:
    serving = asyncio.create_task(writer.over(connection.receive))
    await turns()
    connection.writable.clear()
    writer.stand("1-e", heartbeat=False)
    connection.left.set()
    await turns()
    assert serving.done()
    connection.writable.set()
    await turns()
    assert (connection.written, drains) == ([], [])


async def test_a_cancellation_from_outside_is_passed_on(writer: AsgiFrameWriter, connection: Socket) -> None:
    serving = asyncio.create_task(writer.over(connection.receive))
    await turns()
    serving.cancel()
    await turns()
    assert serving.cancelled()


@pytest.mark.parametrize("blocked", [True, False])
async def test_a_vanished_reader_is_no_error(
    writer: AsgiFrameWriter, connection: Socket, caplog: pytest.LogCaptureFixture, drains: list[bool], blocked: bool
) -> None:
    serving = asyncio.create_task(writer.over(connection.receive))
    await turns()
    if blocked:
        connection.writable.clear()
    connection.fails = ConnectionResetError()
    writer.stand("1-e", heartbeat=False)
    connection.writable.set()
    await turns()
    assert serving.done()
    assert (drains, caplog.records) == ([], [])


async def test_a_server_that_fails_is_logged_and_fails_no_one_else(
    writer: AsgiFrameWriter, connection: Socket, caplog: pytest.LogCaptureFixture
) -> None:
    connection.fails = RuntimeError("broken")
    with caplog.at_level(logging.ERROR, "sse_hub.http"):
        writer.stand("1-e", heartbeat=False)
        writer.stand("2-e", heartbeat=False)
    assert len(caplog.records) == 1


async def test_a_stream_that_is_over_leaves_the_connection_to_the_next(connection: Socket) -> None:
    lent: Any = connection
    over = DirectFrameWriter(connection.send, BatchEncoder(), lent)
    over.close("shutdown", reconnect=True)
    following = DirectFrameWriter(connection.send, BatchEncoder(), lent)
    over.abandon()
    assert lent.writable == following._writable
    following.abandon()
    assert lent.writable is None
