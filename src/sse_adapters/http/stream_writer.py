"""Writing one stream's frames to its socket, through ASGI `send`, without a task switch.

An ASGI server's `send` only suspends when the socket takes no more. So it is stepped once, by hand: when it finishes
at once, the frame is written, and a fan-out to thousands of streams wakes no task. When it suspends, the stream is
blocked, and a task of its own drives that same call to its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator, Mapping
from types import coroutine
from typing import Any, Protocol, cast

from litestar.types import HTTPResponseBodyEvent, Receive, Send

from sse_adapters.http.frames import BatchEncoder, MessageBatch, control_frame, retry_frame, standing_frame
from sse_domain.ports import FrameWriter

log = logging.getLogger("sse_hub.http")


def _nobody_waits() -> None:
    """`drained` until the hub sets its own."""


class Connection(Protocol):
    """A response's connection, which a server may lend to the application (an ASGI extension of ours)."""

    writable: Callable[[], None] | None  # called when the connection, having been congested, takes data again

    @property
    def congested(self) -> bool:
        """Whether more than the high-water mark waits to be sent."""

    def write(self, data: bytes) -> None:
        """Write to the response's chunked body, at once or as the socket takes it; nothing if the reader is gone."""

    def abort(self) -> None:
        """Cut the reader off, whatever still waits."""

    def is_closing(self) -> bool:
        """Whether the reader is gone or being let go."""


class AsgiFrameWriter(FrameWriter):
    """The frames of one response whose head has been sent.

    `connection` is the response's own, if the server lends it: only that can cut off a reader that takes nothing.
    """

    __slots__ = (
        "_connection",
        "_encoder",
        "_kept",
        "_send",
        "_waiting",
        "_writing",
        "blocked",
        "drained",
        "ended",
    )

    def __init__(self, send: Send, encoder: BatchEncoder, connection: Connection | None) -> None:
        self.blocked = False
        self.drained: Callable[[], None] = _nobody_waits
        self.ended = False  # nothing more will be written: closed from this side, or the reader is gone
        self._encoder = encoder
        self._send = send
        self._connection = connection
        self._waiting: asyncio.Task[Any] | None = None
        self._writing: asyncio.Task[None] | None = None
        # Frames in hand when the stream got blocked: its first ones are given as one step, without a look in between.
        self._kept = b""

    def retry(self, retry_ms: int) -> None:
        """Write how long the reader is to wait before it reconnects."""
        self._write(retry_frame(retry_ms))

    def give(self, batch: MessageBatch) -> None:
        self._write(self._encoder.encode(batch))

    def control(self, event: str, payload: Mapping[str, object]) -> None:
        self._write(control_frame(event, payload))

    def stand(self, cursor: str, *, heartbeat: bool) -> None:
        self._write(standing_frame(cursor, heartbeat=heartbeat))

    def close(self, reason: str, *, reconnect: bool, retry_ms: int | None = None) -> None:
        if self.ended:
            return
        if not self.blocked:
            payload = {"reason": reason, "reconnect": reconnect}
            self._write(control_frame("sse.close", payload, retry_ms=retry_ms), last=True)
        if self.blocked:
            self._cut_off()
        self._end()

    async def over(self, receive: Receive) -> None:
        """Wait until the reader has left or the stream was ended from this side; then nothing is written any more."""
        task = self._waiting = asyncio.current_task()
        try:
            while not self.ended and (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if self._waiting is not None or task is None:
                raise
            task.uncancel()  # it was `_end`, which wanted no more than this
        finally:
            self._waiting = None
            self.abandon()

    def abandon(self) -> None:
        """Write nothing any more, without a last word. Idempotent."""
        self.ended = True
        self._kept = b""
        if self._writing is not None:
            self._writing.cancel()

    def _write(self, frames: bytes, *, last: bool = False) -> None:
        if self.ended:
            return
        if self.blocked:
            self._kept += frames
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
        """Bring a suspended write to its end, then what was kept meanwhile, and then let the hub go on."""
        try:
            await _resumed(sending, waiting_for)
            while self._kept and not self.ended:
                frames, self._kept = self._kept, b""
                await self._send({"type": "http.response.body", "body": frames, "more_body": True})
        except Exception as error:
            self._failed(error)
            return
        self._writing = None
        self.blocked = False
        if not self.ended:
            self.drained()

    def _failed(self, error: Exception) -> None:
        # A vanished reader is no error: some servers tell it by an OSError (ASGI 2.4), some by a closed transport.
        if not (isinstance(error, OSError) or (self._connection is not None and self._connection.is_closing())):
            log.error("writing to a stream failed", exc_info=error)
        self._end()

    def _cut_off(self) -> None:
        if self._connection is not None:
            self._connection.abort()
        elif self._writing is not None:
            self._writing.cancel()

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
