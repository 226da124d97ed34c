"""The writer for connections that are handed over, as the protocol of a transport which the test is."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import Callable
from typing import cast

import pytest

from sse_adapters.http.frames import LAST_CHUNK, BatchEncoder, chunk_of
from sse_adapters.http.transport_writer import MAX_BEHIND_BYTES, TransportFrameWriter
from sse_domain.message import Message
from tests.unit.http.one_stream import MESSAGE, RETRY_MS, Stream


class Transport(asyncio.Transport):
    """Keeps what is written. Tells the protocol that the connection is lost when the test says so."""

    def __init__(self, *, plain: socket.socket | None = None, encrypted: bool = False) -> None:
        super().__init__({"socket": plain} | ({"sslcontext": "any"} if encrypted else {}))
        self.written: list[bytes] = []
        self.protocols: set[object] = set()
        self.aborted = False
        self.closing = False
        self.fail: OSError | None = None

    def hand_over(self, protocol: TransportFrameWriter) -> tuple[asyncio.Transport, Callable[[object], object]]:
        self.protocols.add(protocol)
        return self, self.protocols.discard

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.fail is not None:
            raise self.fail
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted = self.closing = True


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def drains() -> list[bool]:
    return []


@pytest.fixture
def writer(transport: Transport, drains: list[bool]) -> TransportFrameWriter:
    writer = TransportFrameWriter(BatchEncoder(), RETRY_MS, transport.hand_over)
    writer.drained = lambda: drains.append(writer.blocked)
    return writer


@pytest.fixture
async def stream(writer: TransportFrameWriter) -> Stream:
    stream = Stream()
    await writer.serve(stream)
    assert stream.left == 0
    return stream


def test_every_write_is_a_chunk_of_the_body(writer: TransportFrameWriter, transport: Transport) -> None:
    writer.begin("0-e", {"a": 1}, None)
    writer.beat("1-e")
    writer.control("sse.unread", {"total": 1})
    writer.give([(MESSAGE, "1-e")])
    assert transport.written == [
        chunk_of(b'retry: 2000\n\nid: 0-e\n\nevent: sse.open\ndata: {"a":1}\n\n'),
        chunk_of(b":\nid: 1-e\n\n"),
        chunk_of(b'event: sse.unread\ndata: {"total":1}\n\n'),
        chunk_of(b"id: 1-e\nevent: t\ndata: 1\n\n"),
    ]


def test_streams_that_share_an_encoder_share_the_bytes(transport: Transport) -> None:
    encoder = BatchEncoder()
    batch = [(MESSAGE, "1-e")]
    for _ in range(2):
        TransportFrameWriter(encoder, RETRY_MS, transport.hand_over).give(batch)
    first, second = transport.written
    assert first == second
    TransportFrameWriter(encoder, RETRY_MS, transport.hand_over).give([(MESSAGE, None)])
    assert transport.written[2] == chunk_of(b"event: t\ndata: 1\n\n")


def test_a_full_transport_blocks_until_it_has_drained(
    writer: TransportFrameWriter, stream: Stream, drains: list[bool]
) -> None:
    writer.pause_writing()
    assert writer.blocked
    assert drains == []
    writer.resume_writing()
    assert drains == [False]


def test_closing_writes_the_last_frame_and_ends_the_body(
    writer: TransportFrameWriter, transport: Transport, stream: Stream
) -> None:
    writer.close("shutdown", reconnect=True, retry_ms=500)
    frame = b'event: sse.close\ndata: {"reason":"shutdown","reconnect":true}\nretry: 500\n\n'
    assert transport.written == [chunk_of(frame) + LAST_CHUNK]
    assert transport.closing
    assert not transport.aborted
    writer.close("again", reconnect=True)
    writer.beat("1-e")
    assert len(transport.written) == 1


def test_closing_a_blocked_one_cuts_the_reader_off(
    writer: TransportFrameWriter, transport: Transport, stream: Stream, drains: list[bool]
) -> None:
    writer.pause_writing()
    writer.close("timeout", reconnect=True)
    assert transport.aborted
    assert transport.written == []
    writer.resume_writing()
    assert drains == []


async def test_a_reader_that_leaves_ends_it(
    writer: TransportFrameWriter, transport: Transport, stream: Stream, drains: list[bool]
) -> None:
    assert transport.protocols == {writer}
    writer.connection_lost(None)
    assert stream.left == 1
    assert transport.protocols == set()
    writer.beat("1-e")
    writer.close("shutdown", reconnect=True)
    writer.resume_writing()
    assert (transport.written, drains) == ([], [])


async def test_a_reader_that_left_while_its_stream_opened_ends_it(writer: TransportFrameWriter) -> None:
    writer.connection_lost(None)
    stream = Stream()
    await writer.serve(stream)
    assert stream.left == 1


async def test_a_connection_that_is_gone_when_it_is_handed_over_ends_it(transport: Transport) -> None:
    transport.closing = True
    writer = TransportFrameWriter(BatchEncoder(), RETRY_MS, transport.hand_over)
    writer.begin("0-e", {}, None)
    stream = Stream()
    await writer.serve(stream)
    assert stream.left == 1
    assert transport.written == []


def test_a_server_that_stops_has_the_stream_ended(
    writer: TransportFrameWriter, transport: Transport, stream: Stream
) -> None:
    writer.shutdown()
    assert stream.ended == ["shutdown"]


def test_a_server_that_stops_ends_a_stream_that_is_opening(writer: TransportFrameWriter, transport: Transport) -> None:
    writer.shutdown()
    assert b'"reason":"shutdown"' in transport.written[0]
    assert transport.closing
    assert transport.protocols == {writer}, "the server waits until what is written is sent"


def test_what_is_sent_behind_a_request_is_ignored_within_bounds(
    writer: TransportFrameWriter, transport: Transport, stream: Stream
) -> None:
    writer.data_received(b"x" * MAX_BEHIND_BYTES)
    assert not transport.aborted
    writer.data_received(b"x")
    assert transport.aborted


async def test_nothing_of_a_stream_that_is_over_waits_for_the_garbage_collector(transport: Transport) -> None:
    gc.disable()
    try:
        writer = TransportFrameWriter(BatchEncoder(), RETRY_MS, transport.hand_over)
        stream = Stream()
        writer.drained = stream.leave
        await writer.serve(stream)
        kept = weakref.ref(stream)
        writer.connection_lost(None)
        del stream
        assert kept() is None
    finally:
        gc.enable()


def test_an_encrypted_connection_is_written_by_its_transport() -> None:
    one, other = socket.socketpair()
    with one, other:
        other.setblocking(False)
        transport = Transport(plain=one, encrypted=True)
        writer = TransportFrameWriter(BatchEncoder(), RETRY_MS, transport.hand_over)
        assert list(TransportFrameWriter.give_all([writer], [(MESSAGE, None)])) == []
        assert transport.written == [chunk_of(b"event: t\ndata: 1\n\n")]
        with pytest.raises(BlockingIOError):
            other.recv(1)


def test_what_can_not_be_encoded_fails_for_every_stream(writer: TransportFrameWriter, transport: Transport) -> None:
    other = TransportFrameWriter(BatchEncoder(), RETRY_MS, transport.hand_over)
    unreadable: list[tuple[Message, str | None]] = [(MESSAGE._replace(data=cast("bytes", None)), None)]
    told = list(TransportFrameWriter.give_all([writer, other], unreadable))
    assert [(each, type(error)) for each, error in told] == [(writer, TypeError), (other, TypeError)]


def test_a_transport_that_fails_keeps_nothing_from_the_others(writer: TransportFrameWriter) -> None:
    failing, failed = Transport(), OSError("no more")
    failing.fail = failed
    broken = TransportFrameWriter(BatchEncoder(), RETRY_MS, failing.hand_over)
    other = Transport()
    last = TransportFrameWriter(BatchEncoder(), RETRY_MS, other.hand_over)
    assert list(TransportFrameWriter.give_all([broken, last], [(MESSAGE, None)])) == [(broken, failed)]
    assert other.written == [chunk_of(b"event: t\ndata: 1\n\n")]
