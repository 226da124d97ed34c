"""An incremental parser of event streams, written from the WHATWG HTML standard §9.2.5–9.2.6.

It is deliberately independent of the product's encoder: tests read streams the way a browser does, and see
besides what a browser hides (comments, and frames that only move the last event id).
"""

import json
from dataclasses import dataclass
from typing import Any

_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One block of an event stream: the lines up to a blank one.

    `data` is None if the block had no data line: a browser dispatches nothing for it. `id` is what this
    block's own `id:` line said, None without one; `last_event_id` is what a browser would send after this
    block. `event` is "message" where the block names no type, `retry` is in milliseconds, `comment` holds the
    block's comment lines.
    """

    event: str = "message"
    data: str | None = None
    id: str | None = None
    last_event_id: str = ""
    retry: int | None = None
    comment: str | None = None

    @property
    def dispatched(self) -> bool:
        """Whether a browser would hand this frame to the page."""
        return self.data is not None

    @property
    def json(self) -> Any:
        """The data decoded as JSON; raises `ValueError` if it is none or there is no data."""
        if self.data is None:
            raise ValueError(f"frame without data: {self!r}")
        return json.loads(self.data)


class EventStreamParser:
    """Turns the bytes of one stream, however they are split, into frames.

    A block that the stream's end cuts off is never given: its id does not count either (WHATWG §9.2.6).
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.reconnection_time: int | None = None
        self._id_buffer = last_event_id
        self._partial_line = b""
        self._after_carriage_return = False
        self._at_stream_start = True
        self._block_has_lines = False
        self._event_type = ""
        self._data_lines: list[str] = []
        self._comments: list[str] = []
        self._id_in_block: str | None = None
        self._retry_in_block: int | None = None

    @property
    def in_midst_of_frame(self) -> bool:
        """Whether a frame has begun that is not complete yet."""
        return self._block_has_lines or bool(self._partial_line)

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take the next bytes and return the frames that they complete, in order."""
        frames: list[Frame] = []
        for raw_line in self._complete_lines(chunk):
            # A line break is never part of a multi-byte character, so decoding by line equals decoding the
            # stream.
            line = raw_line.decode("utf-8", "replace")
            if self._at_stream_start:
                line = line.removeprefix(_BYTE_ORDER_MARK)
                self._at_stream_start = False
            if line:
                self._block_has_lines = True
                self._interpret(line)
            elif self._block_has_lines:
                frames.append(self._finish_block())
        return frames

    def _complete_lines(self, chunk: bytes) -> list[bytes]:
        if self._after_carriage_return and chunk:
            # The line already ended at the CR; the LF of the same CRLF may only arrive now.
            chunk = chunk.removeprefix(b"\n")
            self._after_carriage_return = False
        if chunk.endswith(b"\r"):
            self._after_carriage_return = True
        lines = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        lines[0] = self._partial_line + lines[0]
        self._partial_line = lines.pop()
        return lines

    def _interpret(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                self._comments.append(value)
            case "event":
                self._event_type = value
            case "data":
                self._data_lines.append(value)
            case "id" if "\0" not in value:
                self._id_in_block = self._id_buffer = value
            case "retry" if value.isascii() and value.isdigit():
                self._retry_in_block = self.reconnection_time = int(value)

    def _finish_block(self) -> Frame:
        self.last_event_id = self._id_buffer
        frame = Frame(
            event=self._event_type or "message",
            data="\n".join(self._data_lines) if self._data_lines else None,
            id=self._id_in_block,
            last_event_id=self.last_event_id,
            retry=self._retry_in_block,
            comment="\n".join(self._comments) if self._comments else None,
        )
        self._block_has_lines = False
        self._event_type = ""
        self._data_lines = []
        self._comments = []
        self._id_in_block = None
        self._retry_in_block = None
        return frame
