"""What becomes of a connection when the server stops, by what is going on on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from sse_app import Settings
from sse_app.container import build_container
from sse_app.http_protocol import TransportProtocol
from tests.integration.http.serving import serve

PATIENCE_SECONDS = 10
REQUEST = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"


class Connection:
    """One connection, at the client's end and at the server's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, served: TransportProtocol) -> None:
        self.served = served
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def until(self, text: bytes) -> bytes:
        return await asyncio.wait_for(self._reader.readuntil(text), PATIENCE_SECONDS)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self._reader.read(), PATIENCE_SECONDS)

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    """A connection that the server has accepted and on which nothing was sent yet."""
    accepted: asyncio.Future[TransportProtocol] = asyncio.get_running_loop().create_future()

    class Kept(TransportProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            accepted.set_result(self)

    container = build_container(Settings(database_url="memory://"))
    async with container.node(), serve(container.app(), Kept) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        connection = Connection(reader, writer, await accepted)
        yield connection
        connection.close()


@pytest.fixture
def _has_just_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_app.http_protocol.LAST_HEAD_SECONDS", 2 * PATIENCE_SECONDS)


@pytest.mark.usefixtures("_has_just_connected")
async def test_who_has_just_connected_is_answered(connection: Connection) -> None:
    connection.served.shutdown()
    await connection.send(REQUEST)
    assert (await connection.until(b"\r\n")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.usefixtures("_has_just_connected")
async def test_who_has_begun_to_ask_is_answered(connection: Connection) -> None:
    await connection.send(REQUEST[:10])
    connection.served.shutdown()
    await connection.send(REQUEST[10:])
    assert (await connection.until(b"\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_who_connects_and_says_nothing_is_not_waited_for(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sse_app.http_protocol.LAST_HEAD_SECONDS", 0.01)
    connection.served.shutdown()
    assert await connection.rest() == b""


@pytest.mark.usefixtures("_has_just_connected")
async def test_who_was_answered_is_let_go(connection: Connection) -> None:
    await connection.send(REQUEST)
    await connection.until(b"}")
    connection.served.shutdown()
    assert await connection.rest() == b""


async def test_a_stream_that_was_handed_over_is_not_cut(connection: Connection) -> None:
    """The drain ends it in order."""
    await connection.send(b"GET /api/v1/sse/stream HTTP/1.1\r\nhost: x\r\n\r\n")
    await connection.until(b"sse.open")
    connection.served.shutdown()
    assert not connection.served.transport.is_closing()
