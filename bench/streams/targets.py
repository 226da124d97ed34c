"""What is measured, and how each of them is asked for a stream and for a broadcast."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench.streams.servers import nchan

PAYLOAD_BYTES = 200
API_PREFIX = "/api/v1/sse"
_CHECKOUT = Path(__file__).parents[2]
# What is measured is what is checked out here, whatever is installed.
ENVIRONMENT = {"PYTHONPATH": f"{_CHECKOUT / 'src'}{os.pathsep}{_CHECKOUT}"}
# The longest that the setting allows: a heartbeat amid another server's round would be counted as that one's.
_NO_HEARTBEAT_SECONDS = 3600


def payload(mark: str) -> bytes:
    """A JSON object of exactly `PAYLOAD_BYTES` bytes that contains `mark`."""
    without_text = json.dumps({"mark": mark, "text": ""})
    return json.dumps({"mark": mark, "text": "x" * (PAYLOAD_BYTES - len(without_text))}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One server under measurement.

    `stream_path` gives the path of the n-th stream, and `opened` is in what a stream says once it is open.
    `broadcast_body` wraps a payload in the body of a POST to `broadcast_path`. `environment` is
    that of a server which keeps its files in a directory. `missing` says what the machine lacks to run it, or None.
    """

    name: str
    command: tuple[str, ...]
    stream_path: Callable[[int], str]
    opened: str
    broadcast_path: str
    broadcast_body: Callable[[bytes], bytes]
    environment: Callable[[Path], Mapping[str, str]]
    missing: Callable[[], str | None] = lambda: None


def _other(
    name: str, module: str, *, opened: str = "event: open", missing: Callable[[], str | None] = lambda: None
) -> Target:
    return Target(
        name=name,
        command=(sys.executable, "-m", f"bench.streams.servers.{module}"),
        stream_path=lambda number: "/stream",
        opened=opened,
        broadcast_path="/broadcast",
        broadcast_body=lambda content: content,
        environment=lambda directory: ENVIRONMENT,
        missing=missing,
    )


def hub_environment(directory: Path) -> dict[str, str]:
    """The settings of an sse-hub that keeps its files in a directory; the rest are the defaults."""
    return {**ENVIRONMENT, "SSE_DATABASE_URL": f"sqlite+aiosqlite:///{directory / 'hub.db'}"}


def _sse_hub(name: str, *, persist: bool) -> Target:
    def body(content: bytes) -> bytes:
        return b'{"event_type": "bench", "data": %b, "persist": %b}' % (
            content,
            b"true" if persist else b"false",
        )

    return Target(
        name=name,
        command=(sys.executable, "-m", "sse_app.cli", "serve", "--port", "0"),
        stream_path=user_stream,
        opened="event: sse.open",
        broadcast_path=f"{API_PREFIX}/broadcast",
        broadcast_body=body,
        environment=lambda directory: (
            hub_environment(directory) | {"SSE_HEARTBEAT_SECONDS": str(_NO_HEARTBEAT_SECONDS)}
        ),
    )


def user_stream(number: int) -> str:
    """The path of the only stream of the n-th user."""
    return f"{API_PREFIX}/stream?user_id={user(number)}"


def user(number: int) -> str:
    """The n-th user's id."""
    return f"user-{number}"


def _missing_nchan() -> str | None:
    return None if nchan.nginx() else "nginx with Nchan (Debian's nginx and libnginx-mod-nchan) is not installed"


SSE_HUB = _sse_hub("sse-hub", persist=False)
SSE_HUB_PERSISTED = _sse_hub("sse-hub, persisted", persist=True)
NCHAN = _other("Nchan", "nchan", opened=": hi", missing=_missing_nchan)
SSE_STARLETTE = _other("sse-starlette", "starlette_sse")
LITESTAR = _other("Litestar ServerSentEvent", "litestar_sse")
BARE_ASGI = _other("bare ASGI", "bare_asgi")
ASYNCIO_FLOOR = _other("asyncio floor", "asyncio_floor")
C_FLOOR = _other("C floor", "c_floor")
# Not compared with anything: a program of the user's own, with the hub inside.
IN_PROCESS = replace(SSE_HUB, name="in-process", command=(sys.executable, "-m", "bench.streams.servers.in_process"))
ALL_TARGETS = (SSE_HUB, SSE_HUB_PERSISTED, NCHAN, SSE_STARLETTE, LITESTAR, BARE_ASGI, ASYNCIO_FLOOR, C_FLOOR)
