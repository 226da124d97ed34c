"""What a client sends behind a stream's request, on the same connection: no client we know does, but any may."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sse_adapters.http.transport_writer import MAX_BEHIND_BYTES
from sse_app import HubService
from sse_app.http_protocol import MAX_PIPELINED

STREAM = b"GET /api/v1/sse/stream?id=%b HTTP/1.1\r\nhost: x\r\n\r\n"
PATIENCE_SECONDS = 10
DATA = "x" * 4000

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(base_url: str) -> AsyncIterator[Ends]:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that what is not read holds the server up
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", int(base_url.rpartition(":")[2])))
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield reader, writer
    finally:
        writer.close()


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_reader_that_vanishes_is_forgotten_whatever_it_sent_behind(
    base_url: str, hub: HubService, at_once: bool
) -> None:
    async with connected(base_url) as (reader, writer):
        writer.write(STREAM % b"a" + (STREAM % b"b" if at_once else b""))
        await reader.readuntil(b"sse.open")
        if not at_once:
            writer.write(STREAM % b"b")
        writer.close()
        while await hub.clients(None, 10):
            await hub.broadcast("t", 1)  # a reader is known to be gone when it can't be written to
            await asyncio.sleep(0)


async def test_what_is_sent_behind_a_stream_goes_unanswered(base_url: str, hub: HubService) -> None:
    """RFC 9112 §9.3.2: a client asks again for what was not answered when the connection closed."""
    async with connected(base_url) as (reader, writer):
        writer.write(STREAM % b"a" + STREAM % b"b")
        await reader.readuntil(b"sse.open")
        writer.write(STREAM % b"c" + b"\x16\x03\x01 hello\r\n\r\n")
        await hub.broadcast("t", "live")
        await reader.readuntil(b'data: "live"')
        await hub.disconnect("a", reconnect=True)
        rest = await rest_of(reader)
        assert rest.endswith(b"0\r\n\r\n")
        assert b"HTTP/1.1" not in rest
        assert await hub.clients(None, 10) == []


async def test_what_is_sent_behind_a_stream_is_bounded(base_url: str, hub: HubService) -> None:
    async with connected(base_url) as (reader, writer):
        writer.write(STREAM % b"a")
        await reader.readuntil(b"sse.open")
        writer.write(b"x" * (MAX_BEHIND_BYTES + 1))
        assert b"HTTP/1.1" not in await rest_of(reader)
        assert await hub.clients(None, 10) == []


@pytest.mark.parametrize("behind", [b"GET / HTTP/1.1\r\n\r\n" * (MAX_PIPELINED + 2), b"\x16\x03\x01\r\n\r\n"])
async def test_a_flood_or_a_bad_request_behind_one_that_is_being_answered_ends_the_connection(
    base_url: str, behind: bytes
) -> None:
    async with connected(base_url) as (reader, writer):
        writer.write(b"GET /api/v1/sse/info HTTP/1.1\r\nhost: x\r\n\r\n" + behind)
        assert b"HTTP/1.1" not in await rest_of(reader), "an answer in the middle of another"


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    received = b""
    try:
        while data := await reader.read(65_536):
            received += data
    except ConnectionResetError:
        pass
    return received
