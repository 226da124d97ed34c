"""Event-stream frames, byte for byte as WHATWG HTML §9.2.5–9.2.6 reads them.

An event's JSON is the publisher's own bytes. JSON text may hold line breaks between its tokens (inside strings they
are always escaped), so it is sent as one `data:` line for each of its lines: a reader joins them with LF, and gets the
same value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from sse_domain.message import Message

MessageBatch = Sequence[tuple[Message, str | None]]


def message_frame(message: Message, cursor: str | None) -> bytes:
    """The frame of an application event; without `id:` when `cursor` is None (ephemeral)."""
    data = message.data
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
    head = f"event: {message.event_type}\n" if cursor is None else f"id: {cursor}\nevent: {message.event_type}\n"
    return b"%bdata: %b\n\n" % (head.encode(), data)


def control_frame(event: str, payload: Mapping[str, object], *, retry_ms: int | None = None) -> bytes:
    """The frame of one of the hub's own events (SPEC §2): it has no `id:`. `retry_ms` rides along as `retry:`."""
    retry = b"" if retry_ms is None else b"retry: %d\n" % retry_ms
    return b"event: %b\ndata: %b\n%b\n" % (event.encode(), msgspec.json.encode(payload), retry)


def standing_frame(cursor: str, *, heartbeat: bool) -> bytes:
    """An id-only frame: a browser dispatches nothing for it, but remembers the id (WHATWG HTML §9.2.6)."""
    return b"%bid: %b\n\n" % (b":\n" if heartbeat else b"", cursor.encode())


def retry_frame(retry_ms: int) -> bytes:
    """How many milliseconds a reader is to wait before it reconnects."""
    return b"retry: %d\n\n" % retry_ms


class BatchEncoder:
    """Encodes a batch once, however many streams it is given to in a row.

    Fan-out hands the very same batch object to one stream after the other, so remembering the last one is enough. It
    is kept alive here, so its identity can't be taken over by another batch.
    """

    __slots__ = ("_batch", "_chunk", "_frames")

    def __init__(self) -> None:
        self._batch: MessageBatch = ()
        self._frames = b""
        self._chunk = chunk_of(b"")

    def encode(self, batch: MessageBatch) -> bytes:
        """The frames of these messages, in order, as one piece to write."""
        self._remember(batch)
        return self._frames

    def chunk(self, batch: MessageBatch) -> bytes:
        """The same as one chunk of an HTTP/1.1 body."""
        self._remember(batch)
        return self._chunk

    def _remember(self, batch: MessageBatch) -> None:
        if batch is not self._batch:
            self._frames = b"".join(message_frame(message, cursor) for message, cursor in batch)
            self._chunk = chunk_of(self._frames)
            self._batch = batch


def chunk_of(frames: bytes) -> bytes:
    """A chunk of a chunked body (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(frames), frames)
