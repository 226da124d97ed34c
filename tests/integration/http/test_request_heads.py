"""What arrives before a request can be understood: too long, too slow, no HTTP at all (SPEC §2, §7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from sse_app import Settings
from sse_app.container import build_container
from sse_app.http_protocol import MAX_HEAD_BYTES
from tests.integration.http.serving import serve


@pytest.fixture
async def port() -> AsyncIterator[int]:
    container = build_container(Settings(database_url="memory://"))
    async with container.node(), serve(container.app()) as url:
        yield urlsplit(url).port or 0


async def answer_to(port: int, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def assert_refused(answer: bytes, status: int, code: str) -> None:
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"application/problem+json" in answer
    assert b'"code":"%b"' % code.encode() in answer


@pytest.mark.parametrize("start", [b"GET /health/live?", b"GET / HTTP/1.1\r\nx: "], ids=["url", "header"])
async def test_a_head_without_an_end_is_refused(port: int, start: bytes) -> None:
    answer = await answer_to(port, start, b"a" * (MAX_HEAD_BYTES + 1))
    assert_refused(answer, 431, "head_too_large")


async def test_many_headers_are_as_bad_as_a_long_one(port: int) -> None:
    line = b"x-a: " + b"a" * 90 + b"\r\n"
    answer = await answer_to(port, b"GET / HTTP/1.1\r\n", line * (MAX_HEAD_BYTES // len(line) + 1))
    assert_refused(answer, 431, "head_too_large")


async def test_a_large_body_is_no_large_head(port: int) -> None:
    body = b'{"event_type": "t", "data": "%b"}' % (b"x" * 200_000)
    head = b"POST /api/v1/sse/broadcast HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    answer = await answer_to(port, head + b"content-length: %d\r\n\r\n" % len(body) + body)
    assert answer.startswith(b"HTTP/1.1 201 ")


async def test_a_head_that_does_not_come_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_app.http_protocol.HEAD_SECONDS", 0.05)
    assert_refused(await answer_to(port, b"GET /health/live HT"), 408, "request_timeout")


async def test_an_open_stream_is_not_taken_for_a_late_head(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_app.http_protocol.HEAD_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/v1/sse/stream HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b"sse.open"), 10)
    assert_refused(await answer_to(port, b"G"), 408, "request_timeout")  # longer than the stream's head could take
    assert not reader.at_eof()
    writer.close()


async def test_a_target_that_is_not_ascii_is_told_how_to_be(port: int) -> None:
    answer = await answer_to(port, "GET /api/v1/sse/stream?user_id=Zoë HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert_refused(answer, 400, "malformed_request")
    assert b"must be percent-encoded" in answer


async def test_what_is_not_http_is_told_so(port: int) -> None:
    assert_refused(await answer_to(port, b"\x16\x03\x01 hello\r\n\r\n"), 400, "malformed_request")
