"""Writing one stream's frames straight to its connection, on a server that lends it.

ASGI's `send` is a coroutine, a dict and a chunk header made anew for each of ten thousand streams. With the connection
at hand a frame is one call with bytes that all streams share, chunk header included.
"""

from __future__ import annotations

from litestar.types import Send

from sse_adapters.http.frames import BatchEncoder, MessageBatch, chunk_of
from sse_adapters.http.stream_writer import AsgiFrameWriter, Connection


class DirectFrameWriter(AsgiFrameWriter):
    """As AsgiFrameWriter; the head was sent, and the last frame is, through `send`, which ends the response."""

    __slots__ = ("_direct",)

    def __init__(self, send: Send, encoder: BatchEncoder, connection: Connection) -> None:
        super().__init__(send, encoder, connection)
        self._direct = connection
        connection.writable = self._writable

    def give(self, batch: MessageBatch) -> None:
        if not self.ended:
            self._direct.write(self._encoder.chunk(batch))
            self.blocked = self._direct.congested

    def abandon(self) -> None:
        if self._direct.writable == self._writable:  # and not that of the next stream on this connection
            self._direct.writable = None
        super().abandon()

    def _write(self, frames: bytes, *, last: bool = False) -> None:
        if last or self.ended or self.blocked:
            super()._write(frames, last=last)
        else:
            self._direct.write(chunk_of(frames))
            self.blocked = self._direct.congested

    def _writable(self) -> None:
        self.blocked = False
        frames, self._kept = self._kept, b""
        if frames:
            self._write(frames)
        if not (self.blocked or self.ended):
            self.drained()
