"""The least an ASGI application can do: one task for each stream, woken for each frame, and no framework.

It keeps no message, knows no groups or identities, and never notices a client that has gone: it lives for one
measurement.
"""

from typing import Any

from bench.streams.servers.audience import Audience
from bench.streams.servers.listen import listen

_STREAM_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")],
}
_audience = Audience()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """GET /stream, POST /broadcast, GET /health/ready."""
    match scope["path"]:
        case "/stream":
            await _stream(send)
        case "/broadcast":
            body = b""
            more = True
            while more:
                message = await receive()
                body += message["body"]
                more = message["more_body"]
            _audience.broadcast(b"event: bench\ndata: " + body + b"\n\n")
            await _answer(send, 201)
        case "/health/ready":
            await _answer(send, 200)
        case _:
            await _answer(send, 404)


async def _stream(send: Any) -> None:
    listener = _audience.join()
    await send(_STREAM_START)
    await send({"type": "http.response.body", "body": b"event: open\ndata: {}\n\n", "more_body": True})
    while True:
        frames = await listener.take()
        await send({"type": "http.response.body", "body": b"".join(frames), "more_body": True})


async def _answer(send: Any, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


if __name__ == "__main__":
    listen(application)
