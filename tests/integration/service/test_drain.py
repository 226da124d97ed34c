"""An orderly stop (SPEC §9): nothing new is taken, streams are told, what was taken is finished, exit status 0."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic

import httpx
import pytest

from sse_app.container import build_container
from sse_app.settings import Settings
from sse_domain.errors import ShuttingDown
from sse_domain.replay import StreamRequest
from tests.integration.service.reading import at_each_heartbeat, is_application, numbers, opened, up_to_now
from tests.support.event_stream import EventStream, open_stream
from tests.support.http import API_PREFIX, HubApi, open_api
from tests.support.server_process import ServerProcess, run_server
from tests.support.sse import Frame
from tests.unit.app.conftest import RecordingWriter

GRACE_SECONDS = 25.0  # what the end may take beside the drain
RETRY_MS = 700


@asynccontextmanager
async def streams_of(server: ServerProcess, count: int) -> AsyncIterator[list[EventStream]]:
    """Open streams of as many users."""
    async with AsyncExitStack() as stack:
        streams = []
        for number in range(count):
            params = {"user_id": f"user-{number}", "id": f"client-{number}"}
            streams.append(await stack.enter_async_context(open_stream(server.base_url, params=params)))
            await opened(streams[-1])
        yield streams


async def check_ended(streams: list[EventStream]) -> None:
    """Each was told that it ends and may return, each after a pause of its own, and has a whole response."""
    pauses = set()
    for stream in streams:
        frames = await stream.rest()
        assert stream.clean
        last = frames[-1]
        assert (last.event, last.id) == ("sse.close", None)
        assert last.json == {"reason": "shutdown", "reconnect": True}
        assert last.retry is not None
        assert last.retry >= RETRY_MS
        pauses.add(last.retry)
    assert len(pauses) > 1


async def terminate(server: ServerProcess) -> int:
    return await server.terminate()


async def interrupt(server: ServerProcess) -> int:
    """As Ctrl-C does."""
    os.kill(server.pid, signal.SIGINT)
    return await server.exited()


@pytest.mark.parametrize("stop", [terminate, interrupt])
async def test_every_stream_is_told_and_resumes_after_the_restart(
    tmp_path: Path, stop: Callable[[ServerProcess], Awaitable[int]]
) -> None:
    settings = {"SSE_DRAIN_SECONDS": "0.3", "SSE_RETRY_MS": str(RETRY_MS)}
    async with (
        run_server(tmp_path, settings) as server,
        open_api(server.base_url) as api,
        streams_of(server, 8) as streams,
    ):
        await api.broadcast("note", {"n": 1}, persist=True)
        for stream in streams:
            await stream.until(is_application)
        async with asyncio.timeout(0.3 + GRACE_SECONDS):
            assert await stop(server) == 0
        await check_ended(streams)
        await server.restart_on_same_port()
        await api.broadcast("note", {"n": 2}, persist=True)
        for number, stream in enumerate(streams):
            params = {"user_id": f"user-{number}", "id": f"client-{number}"}
            async with open_stream(server.base_url, params=params, last_event_id=stream.last_event_id) as resumed:
                assert (await opened(resumed))["resumed"] is True
                assert numbers(await up_to_now(api, resumed, f"client-{number}")) == [2]


async def test_streams_end_in_waves_while_nothing_new_is_taken(tmp_path: Path) -> None:
    settings = {"SSE_DRAIN_SECONDS": "4", "SSE_RETRY_MS": str(RETRY_MS)}
    async with (
        run_server(tmp_path, settings) as server,
        AsyncExitStack() as stack,
        streams_of(server, 16) as streams,
    ):
        # Each on a connection that there was before, since no new one is accepted.
        apis = [await stack.enter_async_context(open_api(server.base_url)) for _ in range(3)]
        for api in apis:
            assert (await api.client.get("/health/ready")).status_code == 200
        begun = monotonic()
        exit_code = asyncio.create_task(server.terminate())
        ends = [asyncio.create_task(stream.until(is_close)) for stream in streams]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        ready = await apis[0].client.get("/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"status": "unavailable"})
        assert (await apis[1].client.get("/health/live")).status_code == 200
        refused = await apis[2].client.get(API_PREFIX + "/stream")
        assert {answer.headers["connection"] for answer in (ready, refused)} == {"close"}, "nothing more is to be sent"
        assert refused.status_code == 200, "any other status ends a native EventSource for good"
        assert "sse.close" in refused.text
        assert '"reconnect":true' in refused.text
        with pytest.raises(httpx.ConnectError):
            async with open_api(server.base_url) as newcomer:
                await newcomer.client.get("/health/live")
        await asyncio.gather(*ends)
        assert monotonic() - begun >= 3.5, "one stream each quarter of a second"
        async with asyncio.timeout(GRACE_SECONDS):
            assert await exit_code == 0


async def test_before_the_drain_only_readiness_fails_and_a_second_interrupt_does_not_wait_for_that(
    tmp_path: Path,
) -> None:
    settings = {"SSE_UNREADY_SECONDS": "600", "SSE_HEARTBEAT_SECONDS": "0.1"}
    async with run_server(tmp_path, settings) as server, streams_of(server, 1) as [stream]:

        async def unready() -> bool:
            async with open_api(server.base_url) as newcomer:
                return (await newcomer.client.get("/health/ready")).status_code == httpx.codes.SERVICE_UNAVAILABLE

        assert not await unready()
        os.kill(server.pid, signal.SIGTERM)
        await at_each_heartbeat(stream, unready)
        async with (
            open_api(server.base_url) as newcomer,
            open_stream(server.base_url, params={"user_id": "bob"}) as opened_late,
        ):
            await opened(opened_late)
            assert (await newcomer.client.get("/health/live")).status_code == 200
            await newcomer.broadcast("note", {"n": 1}, persist=True)
            for reader in (stream, opened_late):
                assert (await reader.until(is_application)).json == {"n": 1}
        os.kill(server.pid, signal.SIGINT)
        async with asyncio.timeout(GRACE_SECONDS):
            assert await server.exited() == 0


async def test_the_drain_begins_when_load_balancers_have_had_their_time(tmp_path: Path) -> None:
    settings = {"SSE_UNREADY_SECONDS": "1", "SSE_DRAIN_SECONDS": "0.3", "SSE_RETRY_MS": str(RETRY_MS)}
    async with run_server(tmp_path, settings) as server, streams_of(server, 8) as streams:
        begun = monotonic()
        async with asyncio.timeout(1.3 + GRACE_SECONDS):
            assert await server.terminate() == 0
        assert monotonic() - begun >= 1
        await check_ended(streams)


def is_close(frame: Frame) -> bool:
    return frame.event == "sse.close"


async def test_a_send_in_flight_is_committed_and_answered(server: ServerProcess, api: HubApi) -> None:
    body = json.dumps({"user_id": "ada", "event_type": "note", "data": {"n": 1}, "persist": True}).encode()
    async with open_stream(server.base_url, params={"user_id": "ada"}) as stream:
        await opened(stream)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.base_url.rpartition(":")[2]))
        head = f"POST {API_PREFIX}/send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:20])
        await writer.drain()
        # The server has begun to read the request when it answers one that came after it on another connection.
        await api.info()
        exit_code = asyncio.create_task(server.terminate())
        await stream.until(is_close)
        writer.write(body[20:])
        answer = await asyncio.wait_for(reader.read(), GRACE_SECONDS)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 201 "), answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["seq"] == 1
        assert await exit_code == 0
        cursor = stream.last_event_id
    await server.restart_on_same_port()
    async with open_stream(server.base_url, params={"user_id": "ada", "id": "phone"}, last_event_id=cursor) as stream:
        await opened(stream)
        assert numbers(await up_to_now(api, stream, "phone")) == [1]


async def test_a_reader_that_takes_nothing_does_not_hold_the_exit(server: ServerProcess, api: HubApi) -> None:
    params = {"user_id": "ada", "id": "phone"}
    async with open_stream(server.base_url, params=params, receive_buffer=4096) as stalled:
        await opened(stalled)
        for n in range(30):
            await api.send("bulk", {"n": n, "x": "x" * 100_000}, user_id="ada", persist=True)
        async with asyncio.timeout(0.3 + GRACE_SECONDS):
            assert await server.terminate() == 0
        await stalled.rest()
        had = numbers(stalled.frames)
    assert len(had) < 30
    await server.restart_on_same_port()
    async with open_stream(server.base_url, params=params, last_event_id=stalled.last_event_id) as resumed:
        await opened(resumed)
        await api.send("last", {"n": 30}, user_id="ada", persist=True)
        await resumed.until(lambda frame: frame.event == "last")
        assert had + numbers(resumed.frames) == list(range(31))


async def test_a_stream_that_was_opening_when_the_drain_began_does_not_hold_it(tmp_path: Path) -> None:
    node = build_container(Settings(database_url=f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}")).node()
    async with node as hub:
        opening = asyncio.create_task(hub.open(StreamRequest(user_id="ada"), RecordingWriter()))
        await asyncio.sleep(0)  # it has asked the store by now, which answers from a thread of its own
        await node.drain()
        with pytest.raises(ShuttingDown):
            await opening
        assert (await hub.info()).connections == 0


async def test_a_second_interrupt_does_not_wait_for_the_drain(tmp_path: Path) -> None:
    async with (
        run_server(tmp_path, {"SSE_DRAIN_SECONDS": "600"}) as server,
        streams_of(server, 60) as streams,
    ):
        os.kill(server.pid, signal.SIGINT)
        ends = [asyncio.create_task(stream.until(is_close)) for stream in streams]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        begun = monotonic()
        os.kill(server.pid, signal.SIGINT)
        assert await server.exited() == 0
        assert monotonic() - begun < 10, "one stream each quarter of a second would take half as much again"
        await asyncio.gather(*ends, return_exceptions=True)  # told or cut off, none is left
