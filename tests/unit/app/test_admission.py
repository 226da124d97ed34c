"""Too many streams that open at once are turned away, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sse_app.opening import STORM_SECONDS
from sse_domain.cursor import encode_level
from sse_domain.errors import Overloaded, StoreUnavailable
from sse_domain.replay import StreamRequest
from tests.unit.app.conftest import FakeClock, Parts, RecordingWriter, start_parts

MOST = 3


@pytest.fixture
async def node() -> Parts:
    return await start_parts(FakeClock(), opening_streams=MOST)


class Hold:
    """Holds up what the store is asked until it is let go, or fails."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.failing = False


@asynccontextmanager
async def held(port: object, method: str) -> AsyncIterator[Hold]:
    hold, ask = Hold(), getattr(port, method)

    async def wait(*arguments: Any) -> Any:
        await hold.go.wait()
        if hold.failing:
            raise StoreUnavailable("gone")
        return await ask(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(port, method, wait)
        yield hold


async def opening(node: Parts, count: int) -> list[asyncio.Task[Any]]:
    """Streams that have begun to open."""
    tasks = [asyncio.create_task(node.open(user_id=f"u{number}")) for number in range(count)]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


async def check_full(node: Parts, *, full: bool) -> None:
    """Whether one more is turned away, with nothing left of it."""
    hub, writer = node.container.hub(), RecordingWriter()
    before = len(hub.connections), len(hub.users)
    if not full:
        connection, _ = await node.open(client_id="one more")
        connection.leave()
        return
    with pytest.raises(Overloaded) as turned_away:
        await node.hub.open(StreamRequest(user_id="one more"), writer)
    assert turned_away.value.retry_after == STORM_SECONDS
    assert (len(hub.connections), len(hub.users)) == before
    assert (writer.begun, writer.controls, writer.closed) == ("", [], None)


async def test_no_more_streams_open_at_once_than_may_and_then_more_may(node: Parts) -> None:
    async with held(node.container.store().inbox, "unread") as hold:
        tasks = await opening(node, MOST)
        await check_full(node, full=True)
        hold.go.set()
        await asyncio.gather(*tasks)
    assert len(node.container.hub().connections) == MOST
    await check_full(node, full=False)


async def test_a_stream_that_cannot_open_counts_no_longer(node: Parts) -> None:
    async with held(node.container.store().inbox, "unread") as hold:
        tasks = await opening(node, MOST)
        hold.failing = True
        hold.go.set()
        failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(failure) for failure in failures] == [StoreUnavailable] * MOST
    await check_full(node, full=False)


async def test_nor_does_one_whose_reader_gives_up(node: Parts) -> None:
    async with held(node.container.store().inbox, "unread") as hold:
        tasks = await opening(node, MOST)
        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        tasks += await opening(node, 1)
        await check_full(node, full=True)
        hold.go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert len(node.container.hub().connections) == MOST
    await check_full(node, full=False)


async def test_streams_that_wait_for_the_log_count_as_well(node: Parts) -> None:
    flow = node.container.flow()
    flow._concurrent_reads = 1
    await node.hub.broadcast("t", 1, persist=True)
    beginning = encode_level(0, flow.head.epoch)
    writers = [RecordingWriter() for _ in range(MOST + 1)]
    async with held(node.container.store().log, "replay") as hold:
        for number, writer in enumerate(writers):
            await node.hub.open(StreamRequest(user_id=f"u{number}", cursor=beginning), writer)
            await asyncio.sleep(0)  # the first one's read begins, and waits no longer
        await check_full(node, full=True)
        hold.go.set()
        await node.settle()
    assert [writer.types for writer in writers] == [["t"]] * (MOST + 1)
    await check_full(node, full=False)
