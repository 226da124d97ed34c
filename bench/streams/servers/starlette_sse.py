"""The usual way with Starlette: sse-starlette's `EventSourceResponse` over an async generator."""

from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.streams.servers.audience import Audience
from bench.streams.servers.listen import listen

# No measurement lasts as long: what an idle stream costs is not part of a broadcast.
_NO_PING_SECONDS = 3600
_audience = Audience()


async def stream(request: Request) -> Response:
    """One stream, from now on."""
    return EventSourceResponse(_events(), ping=_NO_PING_SECONDS, sep="\n")


async def _events() -> AsyncIterator[ServerSentEvent]:
    listener = _audience.join()
    try:
        yield ServerSentEvent(event="open", data="{}", sep="\n")
        while True:
            for payload in await listener.take():
                yield ServerSentEvent(event="bench", data=payload.decode(), sep="\n")
    finally:
        _audience.leave(listener)


async def broadcast(request: Request) -> Response:
    """The body, whatever it is, becomes the data of one event on every stream."""
    _audience.broadcast(await request.body())
    return Response(status_code=201)


async def ready(request: Request) -> Response:
    """Says that the server answers."""
    return Response()


if __name__ == "__main__":
    routes = [Route("/stream", stream), Route("/broadcast", broadcast, methods=["POST"]), Route("/health/ready", ready)]
    listen(Starlette(routes=routes))
