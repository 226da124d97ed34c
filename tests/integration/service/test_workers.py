"""`sse-hub serve --workers N`: one address, several processes, of which any may die, and all be replaced."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from sse_app.listening import SharedAddress
from sse_app.settings import Settings
from tests.integration.service.reading import is_application, is_heartbeat, opened
from tests.integration.service.test_command_line import check_refused, sse_hub
from tests.integration.service.test_drain import is_close
from tests.support.event_stream import EventStream, StreamEndedError, open_stream
from tests.support.http import HubApi, open_api
from tests.support.redis_server import redis_prefix, redis_url
from tests.support.server_process import ServerProcess, run_server
from tests.support.socket_owners import owners

REDIS = {"SSE_REDIS_URL": "redis://127.0.0.1"}  # of those that don't come to use it
QUICK = {"SSE_HEARTBEAT_SECONDS": "0.2", "SSE_DRAIN_SECONDS": "0.3", "SSE_RETRY_MS": "700"}
STREAMS_EACH = 3
MOST_STREAMS = 200
GRACE_SECONDS = 30.0  # safety nets, not what is measured


@asynccontextmanager
async def run_workers(
    directory: Path, count: int, settings: dict[str, str] = QUICK, *arguments: str
) -> AsyncIterator[ServerProcess]:
    """A server whose workers all serve."""
    async with redis_prefix() as prefix:
        settings = {"SSE_REDIS_URL": redis_url(), "SSE_REDIS_PREFIX": prefix, **settings}
        async with run_server(directory, settings, ["--workers", str(count), *arguments]) as server:
            await server.logged(f"all {count} workers serve")
            yield server


class Reader:
    """A stream of a user of its own, from an address of its own."""

    def __init__(self, number: int, stream: EventStream) -> None:
        self.user_id = f"user-{number}"
        self.address = address_of(number)
        self.stream = stream
        self.pid = 0


def address_of(number: int) -> str:
    return f"127.0.1.{number + 1}"


@asynccontextmanager
async def readers_of_each(server: ServerProcess) -> AsyncIterator[list[Reader]]:
    """Open streams until each worker has some."""
    async with AsyncExitStack() as stack:
        readers: list[Reader] = []
        pids = set(server.workers.values())
        while len(readers) < MOST_STREAMS:
            number = len(readers)
            stream = await stack.enter_async_context(
                open_stream(server.base_url, params={"user_id": f"user-{number}"}, source_address=address_of(number))
            )
            await opened(stream)
            readers.append(Reader(number, stream))
            holding = owners(server.port, pids)
            for reader in readers:
                reader.pid = holding[reader.address]
            if all(sum(reader.pid == pid for reader in readers) >= STREAMS_EACH for pid in pids):
                break
        else:
            raise AssertionError("the kernel leaves a worker out")
        yield readers


async def send_to_all(api: HubApi, readers: list[Reader], n: int) -> None:
    for reader in readers:
        await api.send("note", {"n": n}, user_id=reader.user_id, persist=True)


async def check_next(stream: EventStream, n: int) -> None:
    frame = await stream.until(is_application)
    assert frame.json["n"] == n


async def check_told(stream: EventStream) -> None:
    """The stream was ended in order, with a time of its own to return."""
    frame = await stream.until(is_close)
    assert frame.json == {"reason": "shutdown", "reconnect": True}
    assert frame.retry is not None
    assert frame.retry >= 700
    await stream.rest()
    assert stream.clean


async def test_one_that_is_killed_comes_back_and_its_readers_resume_while_the_others_read_on(tmp_path: Path) -> None:
    async with (
        run_workers(tmp_path, 2) as server,
        open_api(server.base_url) as api,
        readers_of_each(server) as readers,
    ):
        before = server.workers
        killed = before[2]
        await send_to_all(api, readers, 1)
        for reader in readers:
            await check_next(reader.stream, 1)
        os.kill(killed, signal.SIGKILL)
        lost = [reader for reader in readers if reader.pid == killed]
        kept = [reader for reader in readers if reader.pid != killed]
        for reader in lost:
            with pytest.raises(StreamEndedError):
                await reader.stream.until(is_application)
        await server.logged("worker 2 is started again")
        async with open_api(server.base_url) as others:  # who live take its connections
            await send_to_all(others, readers, 2)
        for reader in kept:
            await check_next(reader.stream, 2)
        await server.logged(r"worker 2 \(pid \d+\) serves", times=2)
        assert f"worker 2 (pid {killed}) ended: SIGKILL" in server.log
        assert server.workers == before | {2: server.workers[2]}
        for reader in lost:
            resume = open_stream(
                server.base_url, params={"user_id": reader.user_id}, last_event_id=reader.stream.last_event_id
            )
            async with resume as resumed:
                assert (await opened(resumed))["resumed"] is True
                await check_next(resumed, 2)
        assert all(not reader.stream.clean and reader.stream.frames[-1].event != "sse.close" for reader in kept)
        async with readers_of_each(server):
            pass  # the new one is given connections
        async with asyncio.timeout(GRACE_SECONDS):
            assert await server.terminate() == 0, server.log
        for reader in kept:
            await check_told(reader.stream)


async def ready_until(server: ServerProcess, done: asyncio.Event) -> int:
    """Ask for readiness on one new connection after the other; how many were answered, each that it is ready."""
    answers = 0
    while not done.is_set():
        async with httpx.AsyncClient(base_url=server.base_url, trust_env=False, timeout=GRACE_SECONDS) as client:
            assert (await client.get("/health/ready")).status_code == httpx.codes.OK
        answers += 1
    return answers


async def test_all_are_replaced_without_a_refused_connection_and_by_the_settings_of_then(tmp_path: Path) -> None:
    """Not even readiness fails, whatever is set for a stop: whoever asks is answered by one that stays."""
    environment = tmp_path / "hub.env"
    environment.write_text("SSE_RETRY_MS=1111\n")
    settings = {name: value for name, value in QUICK.items() if name != "SSE_RETRY_MS"}
    settings["SSE_UNREADY_SECONDS"] = "600"
    async with (
        run_workers(tmp_path, 2, settings, "--env-file", str(environment)) as server,
        readers_of_each(server) as readers,
    ):
        before = server.workers
        assert {reader.stream.frames[0].retry for reader in readers} == {1111}
        environment.write_text("SSE_RETRY_MS=2222\n")
        replaced = asyncio.Event()
        asking = asyncio.create_task(ready_until(server, replaced))
        os.kill(server.pid, signal.SIGHUP)
        await server.logged("all workers are replaced")
        replaced.set()
        assert await asking > 0
        assert not set(before.values()) & set(server.workers.values())
        for reader in readers:
            await check_told(reader.stream)
        async with readers_of_each(server) as back:
            assert {reader.stream.frames[0].retry for reader in back} == {2222}

            environment.write_text("SSE_RETRY_MS=soon\n")
            serving = server.workers
            os.kill(server.pid, signal.SIGHUP)
            await server.logged("worker 1 is not replaced, nor are those after it: SSE_RETRY_MS: .*, not 'soon'")
            for reader in back:
                await reader.stream.until(is_heartbeat)
            assert server.workers == serving
        await server.kill9()


async def is_alive(server: ServerProcess) -> bool:
    """On a connection of its own."""
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False, timeout=GRACE_SECONDS) as client:
        return (await client.get("/health/live")).is_success


async def test_connections_that_wait_for_a_worker_are_taken_by_its_successor(tmp_path: Path) -> None:
    async with run_workers(tmp_path, 2) as server:
        first = server.workers
        for pid in first.values():
            os.kill(pid, signal.SIGSTOP)
        waiting = {asyncio.create_task(is_alive(server)) for _ in range(20)}
        os.kill(server.pid, signal.SIGHUP)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for pid in first.values():
            os.kill(pid, signal.SIGCONT)
        assert all(await asyncio.gather(*waiting))
        await server.logged("all workers are replaced")


async def test_workers_drain_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    settings = QUICK | {"SSE_UNREADY_SECONDS": "600"}  # the next one does not wait for that
    async with run_workers(tmp_path, 2, settings) as server, readers_of_each(server) as readers:
        async with asyncio.timeout(GRACE_SECONDS):
            await server.kill9_supervisor()
        for reader in readers:
            await check_told(reader.stream)
        assert len(re.findall("the supervisor is gone", server.log)) == 2
        await server.restart_on_same_port()


async def test_a_second_interrupt_reaches_the_workers(tmp_path: Path) -> None:
    async with run_workers(tmp_path, 2, QUICK | {"SSE_UNREADY_SECONDS": "600"}) as server:
        os.kill(server.pid, signal.SIGINT)
        await server.logged(r"\[\d\] sse_hub.server: stopping", times=2)
        os.kill(server.pid, signal.SIGINT)
        async with asyncio.timeout(GRACE_SECONDS):
            assert await server.exited() == 0


async def test_eight_that_start_at_once_on_a_new_file_all_serve(tmp_path: Path) -> None:
    """Each brings the file up to date; and lines of JSON say whose they are."""
    async with run_workers(tmp_path, 8, QUICK | {"SSE_LOG_FORMAT": "json"}) as server, open_api(server.base_url) as api:
        assert (await api.send("note", {"n": 1}, user_id="ada", persist=True))["seq"] == 1
        listening = [line for line in map(json.loads, server.log.splitlines()) if "listening" in line["message"]]
        assert sorted((line["worker"], line["pid"]) for line in listening) == sorted(server.workers.items())
        assert await server.terminate() == 0, server.log


WORKERS = ("serve", "--port", "0", "--workers", "3")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ("SSE_WORKERS", "SSE_REDIS_URL", "presence", "disconnects")),
        (REDIS | {"SSE_DATABASE_URL": "memory://"}, ("SSE_WORKERS", "memory://")),
        (REDIS | {"SSE_DATABASE_URL": "sqlite+aiosqlite:///missing/hub.db"}, ("missing",)),
        (REDIS | {"SSE_HOST": "192.0.2.1", "SSE_ALLOW_UNAUTHENTICATED": "1"}, ("192.0.2.1",)),
    ],
    ids=["no Redis", "no common database", "no usable database", "not an address of ours"],
)
def test_workers_that_cannot_start_say_why_once(
    tmp_path: Path, settings: dict[str, str], words: tuple[str, ...]
) -> None:
    check_refused(sse_hub(tmp_path, *WORKERS, **settings), *words)


def test_an_address_that_is_in_use_is_not_shared(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        check_refused(sse_hub(tmp_path, *WORKERS, "--port", str(port), **REDIS), "in use")


def test_an_address_of_other_workers_is_kept_for_them(tmp_path: Path) -> None:
    """Also while none of them listens; though the kernel would let processes of one user share it."""
    address = SharedAddress(Settings(port=0))
    port = address.socket_of(1).getsockname()[1]
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass
    for arguments in (WORKERS, WORKERS[:3]):
        check_refused(sse_hub(tmp_path, *arguments, "--port", str(port), **REDIS), "in use")
    address.socket_of(1).listen()
    with socket.create_connection(("127.0.0.1", port)):
        check_refused(sse_hub(tmp_path, *WORKERS, "--port", str(port), **REDIS), "in use")
    address.close()
    with socket.create_server(("127.0.0.1", port)):
        pass
