"""uvicorn's HTTP/1.1 with what SPEC §7 asks beside it: bounds on a request's head, and connections for streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from sse_adapters.http.transport_writer import HAND_OVER_EXTENSION, TransportFrameWriter

MAX_HEAD_BYTES = 64 * 1024  # request line and headers
MAX_PIPELINED = 16  # requests that may wait for the answer to one before
HEAD_SECONDS = 20.0  # for a request's head to arrive, from the connection or the request's first byte on
LAST_HEAD_SECONDS = 1.0  # the same while the server stops


class TransportProtocol(HttpToolsProtocol):
    """Hands a response's connection over to the application (`sse_hub.hand_over`), refuses endless heads, and speaks of
    what is not HTTP at all as of any other bad input (SPEC §2)."""

    # Not in the instance's dictionary: a few more keys there, and every connection would have one of its own.
    __slots__ = ("_answering", "_head_bytes", "_head_timer")

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_timer: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None
        self._expect_head()

    def hand_over(self, protocol: TransportFrameWriter) -> tuple[asyncio.Transport, Callable[[object], object]]:
        """See sse_adapters.http.transport_writer.HandOver. What was sent behind the request goes unanswered."""
        assert self._answering is not None
        self._answering.response_complete = True
        self._head_is_there()
        self._let_go()
        self.cycle = self._answering = None  # type: ignore[assignment]
        self.flow.resume_reading()
        self.transport.set_protocol(protocol)
        self.connections.add(protocol)  # type: ignore[arg-type]  # it asks no more of it than `shutdown`
        return self.transport, self.connections.discard

    # Requests

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)
        self._let_go()

    def _let_go(self) -> None:
        """Hold nothing that holds this object, or they would stay until the garbage collector comes."""
        self.connections.discard(self)
        self.pipeline.clear()
        self.parser = None  # type: ignore[assignment]
        for request in (self.scope, None if self._answering is None else self._answering.scope):
            if request is not None:
                request.pop("extensions", None)

    def data_received(self, data: bytes) -> None:
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes is not None and self._head_bytes > MAX_HEAD_BYTES:
            detail = f"request line and headers must be at most {MAX_HEAD_BYTES} bytes"
            self._refuse(431, "Request Header Fields Too Large", "head_too_large", detail)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {HAND_OVER_EXTENSION: self.hand_over}  # type: ignore[dict-item]
        if self._head_bytes is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._head_is_there()
        super().on_headers_complete()
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()
            raise ValueError("too many requests behind one that is being answered")  # so that no more are read

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        """As uvicorn closes what is idle when the server stops; but who has just connected is about to ask."""
        if self._head_timer is not None:
            left = self._head_timer.when() - HEAD_SECONDS + LAST_HEAD_SECONDS - self.loop.time()
            if left > 0:
                self.loop.call_later(left, self.shutdown)
                return
        if self in self.connections:  # not handed over meanwhile
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        detail = "the request is not well-formed HTTP (what is not ASCII in its path and query must be percent-encoded)"
        self._refuse(400, "Bad Request", "malformed_request", detail)

    def _expect_head(self) -> None:
        self._head_bytes: int | None = 0  # of the head that is arriving; None while none is
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_there(self) -> None:
        self._head_bytes = None
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._refuse(408, "Request Timeout", "request_timeout", f"the request took more than {HEAD_SECONDS:g} seconds")

    def _refuse(self, status: int, title: str, code: str, detail: str) -> None:
        """Answer and close: what follows on this connection can't be told from this request.

        Behind a request that is still being answered, close without a word: it would stand in the midst of that answer.
        """
        self._head_is_there()
        if self._answering is not None and not self._answering.response_complete:
            self.transport.abort()
        if self.transport.is_closing():
            return
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
        body = msgspec.json.encode(problem)
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (status, title.encode(), len(body), body)
        )
        self.transport.close()
