"""What is measured, and how each of them is asked for a stream and for a broadcast."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PAYLOAD_BYTES = 200
API_PREFIX = "/api/v1/sse"
_CHECKOUT = Path(__file__).parent.parent


def payload(mark: str) -> bytes:
    """A JSON object of exactly `PAYLOAD_BYTES` bytes that contains `mark`."""
    without_text = json.dumps({"mark": mark, "text": ""})
    return json.dumps({"mark": mark, "text": "x" * (PAYLOAD_BYTES - len(without_text))}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One server under measurement.

    `stream_path` gives the path of the n-th stream, and `opened` is in what a stream says once it is open.
    `broadcast_body` wraps a payload in the body of a POST to `broadcast_path`. `environment` is
    that of a server which keeps its files in a directory.
    """

    name: str
    command: tuple[str, ...]
    stream_path: Callable[[int], str]
    opened: bytes
    broadcast_path: str
    broadcast_body: Callable[[bytes], bytes]
    environment: Callable[[Path], Mapping[str, str]]


def _baseline(name: str, module: str) -> Target:
    return Target(
        name=name,
        command=(sys.executable, "-m", module),
        stream_path=lambda number: "/stream",
        opened=b"event: open",
        broadcast_path="/broadcast",
        broadcast_body=lambda content: content,
        environment=lambda directory: {"PYTHONPATH": str(_CHECKOUT)},
    )


def _sse_hub(name: str, *, persist: bool) -> Target:
    def body(content: bytes) -> bytes:
        return b'{"event_type": "bench", "data": %b, "persist": %b}' % (
            content,
            b"true" if persist else b"false",
        )

    return Target(
        name=name,
        command=(sys.executable, "-m", "sse_app.cli", "serve", "--port", "0"),
        stream_path=lambda number: f"{API_PREFIX}/stream?user_id=user-{number}",
        opened=b"event: sse.open",
        broadcast_path=f"{API_PREFIX}/broadcast",
        broadcast_body=body,
        environment=lambda directory: {"SSE_DATABASE_URL": f"sqlite+aiosqlite:///{directory / 'hub.db'}"},
    )


BARE_ASGI = _baseline("bare ASGI", "bench.servers.bare_asgi")
SERVER_SENT_EVENT = _baseline("ServerSentEvent", "bench.servers.litestar_sse")
SSE_HUB = _sse_hub("sse-hub", persist=False)
SSE_HUB_PERSISTED = _sse_hub("sse-hub, persisted", persist=True)
ALL_TARGETS = (BARE_ASGI, SERVER_SENT_EVENT, SSE_HUB, SSE_HUB_PERSISTED)
