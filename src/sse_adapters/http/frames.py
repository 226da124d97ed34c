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


def first_frames(retry_ms: int, cursor: str, opened: Mapping[str, object], reset: str | None) -> bytes:
    """What every stream begins with (SPEC §2). An id-only frame dispatches nothing in a browser, which yet remembers
    the id (WHATWG HTML §9.2.6)."""
    frames = b"retry: %d\n\nid: %b\n\n%b" % (retry_ms, cursor.encode(), control_frame("sse.open", opened))
    return frames if reset is None else frames + control_frame("sse.reset", {"reason": reset})


def heartbeat_frame(cursor: str) -> bytes:
    """A comment, and an id-only frame that moves a browser's id on."""
    return b":\nid: %b\n\n" % cursor.encode()


class BatchEncoder:
    """Encodes a batch once, however many streams it is given to in a row.

    Fan-out hands the very same batch object to one stream after the other, so remembering the last one is enough. It
    is kept alive here, so its identity can't be taken over by another batch. `chunk` are the frames of `batch`, in
    order, as one chunk of an HTTP/1.1 body, `frames` without that.
    """

    __slots__ = ("batch", "chunk", "frames")

    def __init__(self) -> None:
        self.batch: MessageBatch = ()
        self.frames = self.chunk = b""

    def encode(self, batch: MessageBatch) -> None:
        """Make it the one that is encoded, unless it is already."""
        if batch is not self.batch:
            self.frames = b"".join([message_frame(message, cursor) for message, cursor in batch])
            self.chunk = chunk_of(self.frames)
            self.batch = batch


LAST_CHUNK = b"0\r\n\r\n"


def chunk_of(frames: bytes) -> bytes:
    """A chunk of a chunked body (RFC 9112 §7.1). Of nothing it is nothing: an empty chunk would end the body."""
    return frames and b"%x\r\n%b\r\n" % (len(frames), frames)
