"""The stream endpoint (SPEC §2, Streams): one raw ASGI route for its three URL forms.

Everything a request says is read before the status is sent: a native EventSource gives up for ever on any status but
200. After that nothing is an HTTP error any more; what goes wrong is told by `sse.close`, and the reader comes back.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, cast

from litestar import asgi
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from sse_adapters.http.frames import BatchEncoder
from sse_adapters.http.stream_request import EVENT_STREAM, STREAM_FORMS, read_stream_request
from sse_adapters.http.stream_writer import AsgiFrameWriter, StreamWriter
from sse_adapters.http.transport_writer import HAND_OVER_EXTENSION, HandOver, TransportFrameWriter
from sse_domain.api import PushService
from sse_domain.errors import Unavailable
from sse_domain.replay import StreamRequest

log = logging.getLogger("sse_hub.http")

FORMS_OPT_KEY: Final = "sse_stream_forms"

_HEADERS: Final = (
    (b"content-type", EVENT_STREAM.encode()),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


def stream_route(service: PushService, retry_ms: int) -> ASGIRouteHandler:
    """The route of all streams. `retry_ms` is how long a reader waits before it reconnects."""
    encoder = BatchEncoder()

    @asgi("/stream", is_mount=True, copy_scope=False, opt={FORMS_OPT_KEY: STREAM_FORMS})
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        method = scope.get("method")  # a WebSocket has none
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowedException(headers={"Allow": "GET, HEAD"})
        request = read_stream_request(cast("Mapping[str, Any]", scope))
        dismissed = service.dismissed(request.client_id, request.user_id)
        status = HTTPStatus.NO_CONTENT if dismissed else HTTPStatus.OK
        await send({"type": "http.response.start", "status": status.value, "headers": _HEADERS})
        if dismissed or method == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        hand_over = cast("HandOver | None", (scope.get("extensions") or {}).get(HAND_OVER_EXTENSION))
        writer: StreamWriter
        if hand_over is None:
            writer = AsgiFrameWriter(encoder, retry_ms, receive, send)
        else:
            writer = TransportFrameWriter(encoder, retry_ms, hand_over)
        await _serve(service, request, writer, retry_ms)

    return stream


async def _serve(service: PushService, request: StreamRequest, writer: StreamWriter, retry_ms: int) -> None:
    try:
        stream = await service.open(request, writer)
    except Unavailable as error:
        # Whoever is turned away with many others must not come back with all of them.
        pause = random.uniform(1, 2) * max(retry_ms, error.retry_after * 1000)  # noqa: S311  (guards nothing)
        writer.close(error.code, reconnect=True, retry_ms=int(pause))
        return
    except Exception as error:
        log.error("opening a stream failed", exc_info=error)
        writer.close("internal_error", reconnect=True, retry_ms=retry_ms)
        return
    await writer.serve(stream)
