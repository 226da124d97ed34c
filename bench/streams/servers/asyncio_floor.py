"""The floor of asyncio: a bare protocol on uvloop that writes the ready frame to every transport."""

import asyncio
import socket
from typing import cast

import uvloop

_BACKLOG = 2048
_STREAM_START = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n16\r\nevent: open\ndata: {}\n\n\r\n"
)
_ANSWER = b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n"


class Connection(asyncio.Protocol):
    """GET /stream, POST /broadcast, GET /health/ready. Every broadcast is one write to each open stream."""

    __slots__ = ("_received", "_streams", "_transport")

    def __init__(self, streams: set[asyncio.Transport]) -> None:
        self._streams = streams
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._streams.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length:")
        if not end or len(body) < int(length.split(b"\r\n")[0] or 0):
            return
        self._received = b""
        self._answer(head.split(b" ")[1], body)

    def _answer(self, path: bytes, body: bytes) -> None:
        if path == b"/stream":
            self._streams.add(self._transport)
            self._transport.write(_STREAM_START)
        elif path == b"/broadcast":
            frame = b"event: bench\ndata: %b\n\n" % body
            chunk = b"%x\r\n%b\r\n" % (len(frame), frame)
            for transport in self._streams:
                transport.write(chunk)
            self._transport.write(_ANSWER % b"201 Created")
        else:
            self._transport.write(_ANSWER % (b"200 OK" if path == b"/health/ready" else b"404 Not Found"))


async def _listen() -> None:
    streams: set[asyncio.Transport] = set()
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listening:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(streams), sock=listening, backlog=_BACKLOG)
        print(f"listening on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_listen())
