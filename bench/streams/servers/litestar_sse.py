"""The usual way: Litestar's `ServerSentEvent` over an async generator."""

from collections.abc import AsyncIterator
from typing import Any

from litestar import Litestar, Request, get, post
from litestar.response import ServerSentEvent, ServerSentEventMessage

from bench.streams.servers.audience import Audience
from bench.streams.servers.listen import listen

_audience = Audience()


@get("/stream", sync_to_thread=False)
def stream() -> ServerSentEvent:
    """One stream, from now on."""
    return ServerSentEvent(_events())


async def _events() -> AsyncIterator[ServerSentEventMessage]:
    listener = _audience.join()
    try:
        yield ServerSentEventMessage(event="open", data="{}")
        while True:
            for payload in await listener.take():
                yield ServerSentEventMessage(event="bench", data=payload.decode())
    finally:
        _audience.leave(listener)


@post("/broadcast")
async def broadcast(request: Request[Any, Any, Any]) -> None:
    """The body, whatever it is, becomes the data of one event on every stream."""
    _audience.broadcast(await request.body())


@get("/health/ready", sync_to_thread=False)
def ready() -> None:
    """Says that the server answers."""


if __name__ == "__main__":
    listen(Litestar([stream, broadcast, ready], openapi_config=None))
