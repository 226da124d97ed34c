"""A storm of streams over a real socket: who is turned away is told to come back later, in a way a browser takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sse_adapters.http.app import http_app
from sse_app import Settings
from sse_app.container import Container, build_container
from sse_app.opening import STORM_SECONDS
from tests.integration.http.serving import serve
from tests.support.event_stream import open_stream

PATH = "/api/v1/sse/stream"
RETRY_MS = 2000


@pytest.fixture
async def container() -> AsyncIterator[Container]:
    container = build_container(Settings(database_url="memory://", opening_streams=1, retry_ms=RETRY_MS))
    async with container.node():
        yield container


async def test_past_the_cap_a_stream_is_answered_and_ended_at_once(container: Container) -> None:
    inbox, asked, go = container.store().inbox, asyncio.Event(), asyncio.Event()
    count = inbox.unread

    async def held_up(*arguments: Any) -> Any:
        asked.set()
        await go.wait()
        return await count(*arguments)

    inbox.unread = held_up
    async with serve(http_app(container.service())) as base_url, open_stream(base_url, f"{PATH}/ada") as first:
        await asked.wait()
        for _ in range(3):
            async with open_stream(base_url, f"{PATH}/bob") as turned_away:
                assert turned_away.status == 200
                assert turned_away.headers["content-type"] == "text/event-stream"
                closed = await turned_away.next()
                assert (closed.event, closed.json, closed.id) == (
                    "sse.close",
                    {"reason": "overloaded", "reconnect": True},
                    None,
                )
                [pause] = [frame.retry for frame in turned_away.frames if frame.retry is not None]
                assert STORM_SECONDS * 1000 <= pause <= 2 * STORM_SECONDS * 1000
                assert await turned_away.rest() == []
                assert turned_away.clean
        go.set()
        assert (await first.next()).event == "sse.open"
        async with open_stream(base_url, f"{PATH}/bob") as back:
            assert (await back.next()).event == "sse.open"
