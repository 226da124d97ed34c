"""A client of event streams over a raw socket, for tests over a real connection.

It pulls: bytes are read only while a call waits for a frame. A stream that a test leaves alone is therefore a
stalled reader, and with a small `receive_buffer` it blocks the server's writes after a few kilobytes. A
time-out is a safety net that fails the test, never a way to wait.
"""

import asyncio
import json
import select
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.support.http1 import ResponseHead, ResponseReader
from tests.support.patience import within
from tests.support.sse import EventStreamParser, Frame

PATIENCE_SECONDS = 10.0
_READ_SIZE = 65_536
_SHOWN_FRAMES = 5
_SHOWN_CHARACTERS = 200

QueryParameters = Mapping[str, str | int | float | Sequence[str]]


class StreamEndedError(AssertionError):
    """The stream ended while a test waited for more. `clean` is false if the response was cut off."""

    def __init__(self, message: str, *, clean: bool) -> None:
        super().__init__(message)
        self.clean = clean


class EventStream:
    """One response of the server, read as an event stream. Open it with `open_stream`.

    `frames` keeps everything received so far, also what a browser hides; `raw` keeps the bytes as they
    arrived, with head and transfer coding. `waited_since` is when, by the event loop's clock, the reader last had
    everything and found nothing to read: what it has received since was written later. None before the first time.
    """

    def __init__(self, connection: socket.socket, method: str, last_event_id: str) -> None:
        self.frames: list[Frame] = []
        self.raw = bytearray()
        self.waited_since: float | None = None
        self._connection = connection
        self._response = ResponseReader(method)
        self._parser = EventStreamParser(last_event_id)
        self._waiting: deque[Frame] = deque()
        self._body = bytearray()
        self._readable = select.poll()
        self._readable.register(connection, select.POLLIN)

    @property
    def status(self) -> int:
        """The response's status code."""
        return self._head.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's fields by lower-case name; repeated ones are joined by ", "."""
        return self._head.headers

    @property
    def last_event_id(self) -> str:
        """What a browser would resume with after every frame received so far."""
        return self._parser.last_event_id

    @property
    def clean(self) -> bool:
        """Whether the response has come to the end that its framing announces."""
        return self._response.complete

    async def next(self, patience: float = PATIENCE_SECONDS) -> Frame:
        """The next event, of the application or `sse.*`, passing over what a browser would not dispatch."""
        return await self.until(lambda frame: frame.dispatched, patience)

    async def until(self, accepts: Callable[[Frame], bool], patience: float = PATIENCE_SECONDS) -> Frame:
        """The next frame of any kind that `accepts`, comments and id-only ones too.

        What precedes it is consumed. Raises `StreamEndedError` if the stream ends before, and
        `AssertionError` after `patience` seconds.
        """
        async with self._patience(patience):
            while True:
                while self._waiting:
                    frame = self._waiting.popleft()
                    if accepts(frame):
                        return frame
                if not await self._receive():
                    raise StreamEndedError(f"the stream ended; {self._describe()}", clean=self.clean)

    async def rest(self, patience: float = PATIENCE_SECONDS) -> list[Frame]:
        """Read to the end of the stream and return every frame not yet consumed; `clean` tells how."""
        await self._to_the_end(patience)
        frames = list(self._waiting)
        self._waiting.clear()
        return frames

    async def body(self, patience: float = PATIENCE_SECONDS) -> bytes:
        """The whole body, for a response that ends by itself."""
        await self._to_the_end(patience)
        return bytes(self._body)

    async def json(self, patience: float = PATIENCE_SECONDS) -> Any:
        """The whole body decoded as JSON: a problem document, when a stream was refused."""
        return json.loads(await self.body(patience))

    def close(self) -> None:
        """Close as a client does that goes away; the peer sees the end of the connection. May be repeated."""
        self._connection.close()

    def abort(self) -> None:
        """Cut the connection with a reset (RST): everything in flight is thrown away."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    async def _to_the_end(self, patience: float) -> None:
        async with self._patience(patience):
            while await self._receive():
                pass

    async def _receive(self) -> bool:
        """Read once from the socket; false if nothing more will come, after the peer's close or reset."""
        if self._response.complete:
            return False
        loop = asyncio.get_running_loop()
        looked = loop.time()
        if not (self._parser.in_midst_of_frame or self._readable.poll(0)):
            self.waited_since = looked
        try:
            received = await loop.sock_recv(self._connection, _READ_SIZE)
        except ConnectionError:
            return False
        if not received:
            self._response.end_of_connection()
            return False
        self.raw += received
        content = self._response.feed(received)
        self._body += content
        frames = self._parser.feed(content)
        self.frames += frames
        self._waiting += frames
        return True

    @property
    def _head(self) -> ResponseHead:
        if self._response.head is None:
            raise RuntimeError("there is no response yet")
        return self._response.head

    async def _until_head(self) -> None:
        while self._response.head is None:
            if not await self._receive():
                raise StreamEndedError(f"no response, only {bytes(self.raw)!r}", clean=False)

    @asynccontextmanager
    async def _patience(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with within(seconds):
                yield
        except TimeoutError:
            raise AssertionError(f"waited {seconds} s in vain; {self._describe()}") from None

    def _describe(self) -> str:
        shown = [repr(frame)[:_SHOWN_CHARACTERS] for frame in self.frames[-_SHOWN_FRAMES:]]
        if not shown:
            return f"status {self.status}, no frame, body so far {bytes(self._body[:_SHOWN_CHARACTERS])!r}"
        return f"status {self.status}, {len(self.frames)} frames, the last of them: {', '.join(shown)}"


@asynccontextmanager
async def open_stream(
    base_url: str,
    path: str = "/api/v1/sse/stream",
    *,
    params: QueryParameters | None = None,
    headers: Mapping[str, str] | None = None,
    last_event_id: str | None = None,
    method: str = "GET",
    receive_buffer: int | None = None,
    source_address: str | None = None,
    patience: float = PATIENCE_SECONDS,
) -> AsyncIterator[EventStream]:
    """Send a stream's request and give the stream once its head is there; closes it after the block.

    `last_event_id` goes into the header of that name, `receive_buffer` is SO_RCVBUF in bytes (the kernel has
    a minimum of some 2 KiB). Raises `StreamEndedError` if the server closes before it has answered.
    """
    url = urlsplit(base_url)
    if url.hostname is None or url.port is None:
        raise ValueError(f"a base URL needs host and port: {base_url!r}")
    target = f"{path}?{urlencode(params, doseq=True)}" if params else path
    fields = {"Host": url.netloc, "Accept": "text/event-stream", **(headers or {})}
    if last_event_id is not None:
        fields["Last-Event-ID"] = last_event_id
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        if receive_buffer is not None:
            # Only a size set before connecting also bounds the window that is offered.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source_address is not None:
            connection.bind((source_address, 0))
        loop = asyncio.get_running_loop()
        stream = EventStream(connection, method, last_event_id or "")
        try:
            async with within(patience):
                await loop.sock_connect(connection, (url.hostname, url.port))
                await loop.sock_sendall(connection, "\r\n".join(lines).encode())
                await stream._until_head()
        except TimeoutError:
            raise AssertionError(f"no answer to {method} {target} within {patience} s") from None
        yield stream
