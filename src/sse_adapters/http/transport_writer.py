"""Writing one stream's frames straight to its connection, on a server that hands it over.

ASGI's `send` is a coroutine, a dict and a chunk header made anew for each of ten thousand streams, and behind it wait a
task, its frames, the request and its parser for as long as the stream is open. With the connection handed over, a frame
is one call with bytes that all streams share, chunk header included, and nothing of the request is kept but this.

A fan-out goes past the transports, to the sockets of those that have nothing waiting. With thousands of streams the
system calls leave nothing else in the processor's caches, so whatever is touched between two of them, code or data, has
to be fetched again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from os import write
from typing import Any, Final, Protocol, Self

from sse_adapters.http.frames import (
    LAST_CHUNK,
    BatchEncoder,
    MessageBatch,
    chunk_of,
    control_frame,
    first_frames,
    heartbeat_frame,
)
from sse_adapters.http.stream_writer import StreamWriter, nobody_waits
from sse_domain.api import OpenStream

MAX_BEHIND_BYTES = 64 * 1024  # that a reader may send behind its request; nobody reads them, and no client we know does

# An ASGI extension of ours: where a server offers it, the scope's `extensions` have a HandOver by this name.
HAND_OVER_EXTENSION: Final = "sse_hub.hand_over"


class HandOver(Protocol):
    """What a server does with a response's connection."""

    def __call__(self, protocol: TransportFrameWriter) -> tuple[asyncio.Transport, Callable[[object], object]]:
        """Make `protocol` the connection's own, once the response's head is written; the chunked body is now its to
        write, and the connection to close. To the server the response is complete. When it stops it calls the
        protocol's `shutdown`, and waits until the second answer, a function, has been called with the protocol.
        """


class TransportFrameWriter(asyncio.Protocol, StreamWriter):
    """The chunked body of one response whose head has been sent, and the protocol of its connection."""

    __slots__ = (
        "_behind_bytes",
        "_encoder",
        "_free",
        "_gone",
        "_retry_ms",
        "_socket",
        "_stream",
        "_transport",
        "blocked",
        "drained",
        "ended",
    )

    def __init__(self, encoder: BatchEncoder, retry_ms: int, hand_over: HandOver) -> None:
        self.blocked = False
        self.drained: Callable[[], None] = nobody_waits
        self.ended = False
        self._encoder = encoder
        self._retry_ms = retry_ms
        self._behind_bytes = 0
        self._stream: OpenStream | None = None
        self._transport, self._gone = hand_over(self)
        self._socket = _plain_socket(self._transport)
        self._free = -1  # the socket while nothing can wait in the transport that was to be written before, else -1
        if self._transport.is_closing():
            self.connection_lost(None)

    # For the hub

    def begin(self, cursor: str, opened: Mapping[str, object], reset: str | None) -> None:
        self._write(first_frames(self._retry_ms, cursor, opened, reset))

    def give(self, batch: MessageBatch) -> None:
        encoder = self._encoder
        if batch is not encoder.batch:  # as `encode` would find itself: a call less for each of ten thousand
            encoder.encode(batch)
        self._queue(encoder.chunk)

    @classmethod
    def give_all(cls, writers: Sequence[Self], batch: MessageBatch) -> Iterator[tuple[Self, Exception | None]]:
        if not writers:
            return
        encoder = writers[0]._encoder
        try:
            encoder.encode(batch)
        except Exception as error:
            yield from zip(writers, repeat(error))
            return
        chunk = encoder.chunk
        sent = _write_to_each([w._free if w._free >= 0 else w._freed() for w in writers], chunk)
        if sent.count(len(chunk)) == len(sent):
            return
        for writer, count in zip(writers, sent, strict=True):
            if count < len(chunk):
                try:
                    writer._queue(chunk[count:])
                except Exception as error:
                    yield writer, error
                else:
                    if writer.blocked:
                        yield writer, None

    def control(self, event: str, payload: Mapping[str, object]) -> None:
        self._write(control_frame(event, payload))

    def beat(self, cursor: str) -> None:
        self._write(heartbeat_frame(cursor))

    def close(self, reason: str, *, reconnect: bool, retry_ms: int | None = None) -> None:
        if self.ended:
            return
        if self.blocked:
            self._transport.abort()
        else:
            payload = {"reason": reason, "reconnect": reconnect}
            self._transport.write(chunk_of(control_frame("sse.close", payload, retry_ms=retry_ms)) + LAST_CHUNK)
            self._transport.close()
        self.ended = True
        self._free = -1

    async def serve(self, stream: OpenStream) -> None:
        """At once: the transport tells when the reader has left."""
        self._stream = stream
        if self.ended:
            self._leave()

    # For the transport

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False
        if not self.ended:
            self.drained()

    def data_received(self, data: bytes) -> None:
        self._behind_bytes += len(data)
        if self._behind_bytes > MAX_BEHIND_BYTES:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = True
        self._free = -1  # the transport closes the socket now, and its number will be another connection's
        self._gone(self)
        self._leave()

    # For the server

    def shutdown(self) -> None:
        """The server stops: end the stream, unless that has been done."""
        if self._stream is None:
            self.close("shutdown", reconnect=True)
        else:
            self._stream.end("shutdown", reconnect=True)

    def _leave(self) -> None:
        stream, self._stream = self._stream, None
        self.drained = nobody_waits  # or stream and writer would hold each other until the garbage collector comes
        if stream is not None:
            stream.leave()

    def _write(self, frames: bytes) -> None:
        if not self.ended:
            self._queue(chunk_of(frames))

    def _queue(self, chunk: bytes) -> None:
        self._free = -1
        self._transport.write(chunk)

    def _freed(self) -> int:
        if not (self.ended or self._transport.get_write_buffer_size()):
            self._free = self._socket
        return self._free


def _plain_socket(transport: asyncio.Transport) -> int:
    """The number of a transport's socket, if what is written goes there as it is; else -1."""
    encrypted = transport.get_extra_info("sslcontext") is not None
    socket: Any = transport.get_extra_info("socket")
    return -1 if encrypted or socket is None else socket.fileno()


def _write_to_each(sockets: Sequence[int], data: bytes) -> list[int]:
    """How many bytes each socket took. In a loop in which nothing of Python is run but what comes after an error."""
    taken: list[int] = []
    writing = map(write, sockets, repeat(data))
    while len(taken) < len(sockets):
        try:
            taken.extend(writing)
        except OSError:  # full, gone, or none at all: the transport finds out what to do about it
            taken.append(0)
    return taken
