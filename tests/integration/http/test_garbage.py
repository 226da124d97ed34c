"""Streams, calls and recurring work leave nothing behind that only the garbage collector finds.

The collector is kept from looking at what has lived for long (`sse_app.garbage`), so what is left to it stays. All this
holds from the second time on: what the first makes once is kept, or was never much.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from sse_app.container import Container, build_container
from sse_app.settings import Settings
from tests.integration.http.serving import serve
from tests.support.http import API_PREFIX

REPEATS = 20
EVENT = {"event_type": "t", "data": 1}
KEPT = {"user_id": "ada", "persist": True, **EVENT}


def get(target: str) -> bytes:
    return b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % target.encode()


def post(path: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {API_PREFIX}{path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return b"%bcontent-length: %d\r\n\r\n%b" % (head.encode(), len(content), content)


STREAM = get(f"{API_PREFIX}/stream?user_id=ada")
REQUESTS = {
    "stream": STREAM,
    "stream with a replay": get(f"{API_PREFIX}/stream?user_id=bob&id=tab&replay=unread&unread=1"),
    "stream, another behind it": STREAM * 2,
    "stream, half a request behind it": STREAM + b"GET /b HT",
    "stream that is refused": get(f"{API_PREFIX}/stream?colour=red"),
    "send": post("/send", KEPT),
    "repeat": post("/send", KEPT | {"event_id": "e1"}),
    "conflict": post("/send", KEPT | {"event_id": "e1", "data": 2}),
    "batch": post("/send/batch", {"messages": [{"to": {"user_id": "ada"}, **EVENT}]}),
    "broadcast": post("/broadcast", EVENT | {"persist": True}),
    "wrong fields": post("/send", EVENT | {"colour": "red"}),
    "too much": post("/send", KEPT).replace(b"content-length: ", b"content-length: 9999999"),
    "mark these": post("/messages/read", {"user_id": "ada", "event_ids": ["e1"]}),
    "mark all": post("/messages/read", {"user_id": "ada", "all": True}),
    "subscribe": post("/subscribe", {"user_id": "ada", "group": "team"}),
    "unsubscribe": post("/unsubscribe", {"user_id": "ada", "group": "team"}),
    "messages": get(f"{API_PREFIX}/messages?user_id=ada&status=unread&order=desc"),
    "pending": get(f"{API_PREFIX}/messages/pending?user_id=ada"),
    "unread": get(f"{API_PREFIX}/messages/unread?user_id=ada"),
    "info": get(f"{API_PREFIX}/info"),
    "nothing there": get("/colour"),
    "malformed": b"\x16\x03\x01\r\n\r\n",
}


def test_nothing_waits_for_the_garbage_collector(tmp_path: Path) -> None:
    """On the server's own event loop: asyncio's makes cycles of its own."""
    found = uvloop.run(_garbage_of_each(f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}"))
    assert not any(found.values()), {case: objects for case, objects in found.items() if objects}


async def _garbage_of_each(database_url: str) -> dict[str, int]:
    """How many objects remain of each request, of readers who leave before they are answered, and of what recurs."""
    found = {}
    async with _running(database_url) as (container, port):
        own = asyncio.all_tasks()

        async def recur() -> None:
            for name in ("stream", "send", "mark all"):  # for something to be recorded, and removed
                await _ask(port, REQUESTS[name], leaves_early=False)
            for _, job in container.node()._periodic:  # so may the node itself, between any two requests here
                await job()

        async def idle() -> None:
            """Until no stream is open, and no task there but the node's and the test's own."""
            async with asyncio.timeout(30):
                while container.hub().connections or not asyncio.all_tasks() <= own:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0)

        await _garbage_of(recur, idle)
        for name, request_bytes in REQUESTS.items():
            for leaves_early in (False, True):

                async def ask(request_bytes: bytes = request_bytes, leaves_early: bool = leaves_early) -> None:
                    await _ask(port, request_bytes, leaves_early)

                found[f"{name}, {leaves_early=}"] = await _garbage_of(ask, idle)
        found["what recurs"] = await _garbage_of(recur, idle)
    return found


@asynccontextmanager
async def _running(database_url: str) -> AsyncIterator[tuple[Container, int]]:
    """A node and its port. Whatever is there before it is out of the collector's sight, which saves most of the time.

    The janitor comes when it is called, and then removes everything.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        container = build_container(Settings(database_url=database_url, retention_days=1e-9, cleanup_seconds=3600))
        async with container.node(), serve(container.app()) as url:
            yield container, int(url.rpartition(":")[2])
    finally:
        gc.enable()
        gc.unfreeze()


async def _garbage_of(action: Callable[[], Awaitable[None]], idle: Callable[[], Awaitable[None]]) -> int:
    """How many objects the collector finds after the action was taken some times more than once."""
    await action()
    await idle()
    gc.collect()
    for _ in range(REPEATS):
        await action()
    await idle()
    return gc.collect()


async def _ask(port: int, request_bytes: bytes, leaves_early: bool) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_bytes)
    if leaves_early:
        await writer.drain()
    else:
        await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
