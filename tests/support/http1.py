"""The reading half of HTTP/1.1 (RFC 9112) that a stream client needs: a head, and a body by any framing.

Tests read streams with this instead of an HTTP library because they must see exactly which bytes arrived, and
where a response was cut off.
"""

from dataclasses import dataclass

_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"


class HttpViolationError(AssertionError):
    """The peer sent something that is not the HTTP/1.1 it should be: always a failure of the test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseHead:
    """Status line and fields; field names are lower-case, repeated fields are joined by ", "."""

    status: int
    reason: str
    headers: dict[str, str]


class ResponseReader:
    """Splits the bytes of one response into its head and its body, as they arrive.

    `complete` is true once the body has ended as its framing says it must; a response that ends before was
    cut off.
    """

    def __init__(self, method: str) -> None:
        self.head: ResponseHead | None = None
        self.complete = False
        self._method = method
        self._buffer = bytearray()
        self._chunked = False
        # Bytes left in the chunk or body; None while a body goes on to the end of the connection.
        self._left: int | None = None
        self._chunk_begun = False
        self._in_trailer = False

    def feed(self, received: bytes) -> bytes:
        """Take the next bytes from the socket and return those of the body."""
        self._buffer += received
        if self.head is None:
            end = self._buffer.find(_HEAD_END)
            if end < 0:
                return b""
            self.head = _parse_head(self._take(end))
            self._take(len(_HEAD_END))
            self._choose_framing(self.head)
        body = self._take_chunks() if self._chunked else self._take_plain()
        if self.complete and self._buffer:
            raise HttpViolationError(f"bytes after the end of the response: {bytes(self._buffer[:80])!r}")
        return body

    def end_of_connection(self) -> None:
        """Take note that the peer has closed: that completes a body that has no other end."""
        if self.head is not None and not self._chunked and self._left is None:
            self.complete = True

    def _choose_framing(self, head: ResponseHead) -> None:
        # RFC 9112 §6.3, in its order of precedence.
        if self._method == "HEAD" or head.status in (204, 304):
            self._left, self.complete = 0, True
        elif head.headers.get("transfer-encoding", "").lower() == "chunked":
            self._chunked = True
        elif "content-length" in head.headers:
            self._left = int(head.headers["content-length"])
            self.complete = self._left == 0

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _take_plain(self) -> bytes:
        if self._left is None:
            return self._take(len(self._buffer))
        body = self._take(self._left)
        self._left -= len(body)
        self.complete = self._left == 0
        return body

    def _take_chunks(self) -> bytes:
        body = bytearray()
        while self._buffer and not self.complete:
            if self._left:
                taken = self._take(self._left)
                self._left -= len(taken)
                body += taken
                continue
            end = self._buffer.find(_LINE_END)
            if end < 0:
                break
            line = self._take(end)
            self._take(len(_LINE_END))
            self._interpret_line(line)
        return bytes(body)

    def _interpret_line(self, line: bytes) -> None:
        if self._in_trailer:
            self.complete = not line
        elif self._chunk_begun:
            if line:
                raise HttpViolationError(f"a chunk is followed by {line[:80]!r}")
            self._chunk_begun = False
        else:
            try:
                self._left = int(line.split(b";", 1)[0], 16)
            except ValueError:
                raise HttpViolationError(f"not a chunk size: {line[:80]!r}") from None
            self._chunk_begun = self._left > 0
            self._in_trailer = self._left == 0


def _parse_head(raw: bytes) -> ResponseHead:
    status_line, *field_lines = raw.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    status, _, reason = rest.partition(" ")
    if version != "HTTP/1.1" or len(status) != 3 or not status.isdigit():
        raise HttpViolationError(f"not a status line: {status_line!r}")
    headers: dict[str, str] = {}
    for line in field_lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise HttpViolationError(f"not a header field: {line!r}")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return ResponseHead(status=int(status), reason=reason, headers=headers)
