"""Writing one stream's frames to its socket, through ASGI `send`, without a task switch.

An ASGI server's `send` only suspends when the socket takes no more. So it is stepped once, by hand: when it finishes
at once, the frame is written, and a fan-out to thousands of streams wakes no task. When it suspends, the stream is
blocked, and a task of its own drives that same call to its end.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Generator, Mapping
from types import coroutine
from typing import Any, Protocol, cast

from litestar.types import HTTPResponseBodyEvent, Receive, Send

from sse_adapters.http.frames import BatchEncoder, MessageBatch, control_frame, first_frames, heartbeat_frame
from sse_domain.api import FrameWriter, OpenStream

log = logging.getLogger("sse_hub.http")


def nobody_waits() -> None:
    """`drained` until the hub sets its own."""


class StreamWriter(FrameWriter, Protocol):
    """The frames of one response whose head has been sent."""

    @abstractmethod
    async def serve(self, stream: OpenStream) -> None:
        """See to it that the stream is left once the reader has left or it was ended from this side; returns when
        nothing more is to be done for that.
        """


class AsgiFrameWriter(StreamWriter):
    """On any ASGI server. A reader that takes nothing is given up; whether it is cut off is up to the server."""

    __slots__ = ("_encoder", "_receive", "_retry_ms", "_send", "_waiting", "_writing", "blocked", "drained", "ended")

    def __init__(self, encoder: BatchEncoder, retry_ms: int, receive: Receive, send: Send) -> None:
        self.blocked = False
        self.drained: Callable[[], None] = nobody_waits
        self.ended = False  # nothing more will be written: closed from this side, or the reader is gone
        self._encoder = encoder
        self._retry_ms = retry_ms
        self._receive = receive
        self._send = send
        self._waiting: asyncio.Task[Any] | None = None
        self._writing: asyncio.Task[None] | None = None

    def begin(self, cursor: str, opened: Mapping[str, object], reset: str | None) -> None:
        self._write(first_frames(self._retry_ms, cursor, opened, reset))

    def give(self, batch: MessageBatch) -> None:
        self._encoder.encode(batch)
        self._write(self._encoder.frames)

    def control(self, event: str, payload: Mapping[str, object]) -> None:
        self._write(control_frame(event, payload))

    def beat(self, cursor: str) -> None:
        self._write(heartbeat_frame(cursor))

    def close(self, reason: str, *, reconnect: bool, retry_ms: int | None = None) -> None:
        if self.ended:
            return
        if not self.blocked:
            payload = {"reason": reason, "reconnect": reconnect}
            self._write(control_frame("sse.close", payload, retry_ms=retry_ms), last=True)
        if self._writing is not None:
            self._writing.cancel()
        self._end()

    async def serve(self, stream: OpenStream) -> None:
        task = self._waiting = asyncio.current_task()
        try:
            while not self.ended and (await self._receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if self._waiting is not None or task is None:
                raise
            task.uncancel()  # it was `_end`, which wanted no more than this
        finally:
            self._waiting = None
            self.ended = True
            self.drained = nobody_waits
            if self._writing is not None:
                self._writing.cancel()
            stream.leave()

    def _write(self, frames: bytes, *, last: bool = False) -> None:
        if self.ended:
            return
        event: HTTPResponseBodyEvent = {"type": "http.response.body", "body": frames, "more_body": not last}
        sending = cast("Coroutine[Any, None, None]", self._send(event))
        try:
            waiting_for = sending.send(None)
        except StopIteration:
            return
        except Exception as error:
            self._failed(error)
            return
        self.blocked = True
        self._writing = asyncio.get_running_loop().create_task(self._drive(sending, waiting_for))

    async def _drive(self, sending: Coroutine[Any, None, None], waiting_for: object) -> None:
        """Bring a suspended write to its end, and then let the hub go on."""
        try:
            await _resumed(sending, waiting_for)
        except Exception as error:
            self._failed(error)
            return
        self._writing = None
        self.blocked = False
        if not self.ended:
            self.drained()

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, OSError):  # by which some servers tell that the reader has vanished (ASGI 2.4)
            log.error("writing to a stream failed", exc_info=error)
        self._end()

    def _end(self) -> None:
        """Release the task that waits in `over`: not every server tells a finished response by `http.disconnect`."""
        self.ended = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()


@coroutine
def _resumed(sending: Coroutine[Any, Any, None], waiting_for: object) -> Generator[Any, Any, None]:
    """Await the rest of a coroutine that has been stepped already and waits for `waiting_for`."""
    while True:
        outcome: object = None
        failure: BaseException | None = None
        try:
            outcome = yield waiting_for
        except BaseException as error:
            failure = error
        try:
            waiting_for = sending.send(outcome) if failure is None else sending.throw(failure)
        except StopIteration:
            return
