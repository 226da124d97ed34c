"""A POST call with little between its request and its answer, for the calls that are made by the thousand.

Litestar's own HTTP routes look up dependencies, match signatures and build two responses for each request, which takes
as long as sending a few messages does. Guards, middleware and exception handlers apply here as on any route; the hooks
`before_request`, `after_request` and `after_response` don't, nor do they on streams.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, asgi
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from sse_adapters.http.operation import Operation

_ALLOW: Final = "OPTIONS, POST"


def post_route(
    path: str, operation: Operation, answer: Callable[[Request[Any, Any, Any]], Awaitable[tuple[HTTPStatus, object]]]
) -> ASGIRouteHandler:
    """The route of this operation. `answer` makes a status and a JSON body of a request."""

    @asgi(path, copy_scope=False, opt=operation.opt)
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        method = scope.get("method")  # a WebSocket has none
        if method == "OPTIONS":
            await _send(send, HTTPStatus.NO_CONTENT, b"", (b"allow", _ALLOW.encode()))
            return
        if method != "POST":
            raise MethodNotAllowedException(headers={"Allow": _ALLOW})
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        operation.query(request)
        status, content = await answer(request)
        body = msgspec.json.encode(content)
        await _send(
            send,
            status,
            body,
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            (b"content-length", b"%d" % len(body)),
        )

    return call


async def _send(send: Send, status: HTTPStatus, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
