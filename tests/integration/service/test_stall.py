"""Readers that stop reading, and readers that are gone (SPEC §3.10): bounded memory, a deadline, nobody else hurt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import monotonic

import pytest

from tests.integration.service.reading import at_each_heartbeat, is_application, numbers, opened
from tests.integration.service.write_paths import on_both_write_paths, on_each_and_any_asgi_server
from tests.support.event_stream import EventStream, StreamEndedError, open_stream
from tests.support.http import HubApi, open_api
from tests.support.hub_databases import EVERY
from tests.support.server_process import ServerProcess, run_server

STALLED = 20
MESSAGES = 100
BULK = "x" * 100_000  # 100 of them for each of 20 readers: 200 MB that nobody takes
MEBIBYTE = 1024 * 1024
TIMEOUT_SECONDS = 3


def memory_of(pid: int) -> int:
    """What the process has in memory that is no file's, in bytes. Whether others share it makes no difference."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    [kibibytes] = [line.split()[1] for line in lines if line.startswith("Anonymous:")]
    return int(kibibytes) * 1024


async def stall(stack: AsyncExitStack, server: ServerProcess, user: str) -> EventStream:
    """A stream whose reader takes what comes first and then nothing more."""
    params = {"user_id": user, "id": user}
    stream = await stack.enter_async_context(open_stream(server.base_url, params=params, receive_buffer=4096))
    await opened(stream)
    return stream


async def flood(api: HubApi, healthy: EventStream, numbers: range) -> None:
    """Send to all, one after the other: the healthy reader has each before the next is sent. One in four is live."""
    for n in numbers:
        await api.broadcast("flood", {"n": n, "x": BULK}, persist=n % 4 > 0, priority=n % 3)
        assert (await healthy.until(is_application)).json["n"] == n


async def check_resume(server: ServerProcess, stream: EventStream, user: str, sent: int) -> None:
    """A stalled reader's cursor brings exactly the persisted rest of what was sent; nothing live is repeated."""
    had = numbers(stream.frames)
    params = {"user_id": user, "id": user}
    async with (
        open_api(server.base_url) as api,
        open_stream(server.base_url, params=params, last_event_id=stream.last_event_id) as resumed,
    ):
        payload = await opened(resumed)
        assert (payload["resumed"], payload["complete"]) == (True, True)
        await api.send("last", {"n": sent}, user_id=user, persist=True)
        await resumed.until(lambda frame: frame.event == "last")
        given = numbers(resumed.frames)[:-1]
    persisted = [n for n in range(sent) if n % 4]
    assert sorted(given) == [n for n in persisted if n not in had]
    for priority in range(3):
        lane = [n for n in given if n % 3 == priority]
        assert lane == sorted(lane)


@on_each_and_any_asgi_server(EVERY)
async def test_readers_that_stop_reading_cost_bounded_memory_and_delay_nobody(
    database_url: str, program: Sequence[str], tmp_path: Path
) -> None:
    settings = {
        "SSE_DATABASE_URL": database_url,
        "SSE_HEARTBEAT_SECONDS": "0.2",
        "SSE_TIMEOUT_SECONDS": "60",
    }
    async with (
        run_server(tmp_path, settings, program=program) as server,
        open_api(server.base_url) as api,
        open_stream(server.base_url, params={"user_id": "healthy"}) as healthy,
        AsyncExitStack() as stack,
    ):
        await opened(healthy)
        # What the server takes for itself to handle such messages at all is not the stalled readers' cost.
        await flood(api, healthy, range(-40, 0, 4))
        baseline = memory_of(server.pid)
        stalled = {f"stalled-{number}": await stall(stack, server, f"stalled-{number}") for number in range(STALLED)}
        peak = 0
        for start in range(0, MESSAGES, 10):
            await flood(api, healthy, range(start, start + 10))
            peak = max(peak, memory_of(server.pid))
        assert peak - baseline < 16 * MEBIBYTE
        info = await api.info()
        assert info["connections"] == STALLED + 1
        assert info["dropped"] > 0, "what is live only is dropped, and counted, for a stream that fell back to the log"
        user, stream = stalled.popitem()
        stream.abort()
        await check_resume(server, stream, user, MESSAGES)
        # The others begin to read again and find everything in place.
        user, stream = stalled.popitem()
        await api.send("last", {"n": MESSAGES}, user_id=user, persist=True)
        await stream.until(lambda frame: frame.event == "last")
        had = numbers(stream.frames)
        assert len(had) == len(set(had))
        assert {n for n in range(MESSAGES) if n % 4} <= set(had)


@on_both_write_paths
async def test_a_stalled_reader_is_closed_at_its_deadline_and_resumes(program: Sequence[str], tmp_path: Path) -> None:
    settings = {"SSE_HEARTBEAT_SECONDS": "0.2", "SSE_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS)}
    async with (
        run_server(tmp_path, settings, program=program) as server,
        open_api(server.base_url) as api,
        open_stream(server.base_url, params={"user_id": "healthy"}) as healthy,
        AsyncExitStack() as stack,
    ):
        await opened(healthy)
        stalled = await stall(stack, server, "ada")
        begun = monotonic()
        await flood(api, healthy, range(MESSAGES // 4))

        async def alone() -> bool:
            return bool((await api.info())["connections"] == 1)

        await at_each_heartbeat(healthy, alone)
        assert monotonic() - begun >= TIMEOUT_SECONDS
        await stalled.rest()
        assert not stalled.clean, "it was cut off, not ended: it took nothing any more"
        assert len(numbers(stalled.frames)) < MESSAGES // 4
        online = (await api.get("/online", user_id=["ada", "healthy"])).json()["users"]
        assert [user["online"] for user in online] == [False, True]
        await check_resume(server, stalled, "ada", MESSAGES // 4)


@on_both_write_paths
async def test_a_reader_that_takes_next_to_nothing_is_closed_as_well(program: Sequence[str], tmp_path: Path) -> None:
    """The kernel sees this one alive, for it takes a little again and again; its writes do not drain all the same."""
    settings = {"SSE_HEARTBEAT_SECONDS": "0.2", "SSE_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS)}
    async with (
        run_server(tmp_path, settings, program=program) as server,
        open_api(server.base_url) as api,
        open_stream(server.base_url, params={"user_id": "healthy"}) as healthy,
        AsyncExitStack() as stack,
    ):
        await opened(healthy)
        trickle = await stall(stack, server, "ada")
        data = {"x": BULK[:2000]}
        await api.send_batch([{"to": {"user_id": "ada"}, "event_type": "drop", "data": data, "persist": True}] * 1000)

        async def alone_but_for_a_sip() -> bool:
            if (await api.info())["connections"] == 1:
                return True
            with suppress(StreamEndedError):  # it has been closed meanwhile
                for _ in range(4):
                    await trickle.until(is_application)
            return False

        await at_each_heartbeat(healthy, alone_but_for_a_sip)
        await trickle.rest()
        assert len([frame for frame in trickle.frames if is_application(frame)]) < 1000


@pytest.mark.parametrize("leave", ["close", "abort"])
@on_both_write_paths
async def test_a_reader_that_goes_away_is_noticed_at_once(server: ServerProcess, api: HubApi, leave: str) -> None:
    async with (
        open_stream(server.base_url, params={"user_id": "healthy"}) as healthy,
        open_stream(server.base_url, params={"user_id": "ada", "id": "phone", "group": "lobby"}) as ada,
    ):
        await opened(healthy)
        await opened(ada)
        info = await api.info()
        assert [info[count] for count in ("connections", "clients", "users", "groups")] == [2, 2, 2, 1]
        getattr(ada, leave)()

        async def gone() -> bool:
            info = await api.info()
            return [info[count] for count in ("connections", "clients", "users", "groups")] == [1, 1, 1, 0]

        # Nothing is sent to it, and its deadline is a minute and a half away.
        await at_each_heartbeat(healthy, gone, beats=10)
        assert (await api.send("note", {"n": 1}, user_id="ada"))["connections"] == 0


@on_both_write_paths
async def test_readers_that_come_and_go_leave_nothing_behind(server: ServerProcess, api: HubApi) -> None:
    async with open_stream(server.base_url, params={"user_id": "healthy"}) as healthy:
        await opened(healthy)

        async def visit(number: int) -> None:
            params = {"user_id": f"user-{number}", "group": [f"group-{number}"], "unread": "1"}
            async with open_stream(server.base_url, params=params) as stream:
                if number % 2:
                    await opened(stream)

        for start in range(0, 300, 50):
            await asyncio.gather(*(visit(number) for number in range(start, start + 50)))

        async def alone() -> bool:
            info = await api.info()
            return [info[count] for count in ("connections", "clients", "users", "groups")] == [1, 1, 1, 0]

        await at_each_heartbeat(healthy, alone)
        assert "Traceback" not in server.log
