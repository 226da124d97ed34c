"""A database that goes away, in whatever manner: streams stay open, calls are told soon, and all goes on after."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import httpx
import pytest

from tests.integration.service.database_faults import DatabaseFaults
from tests.integration.service.reading import is_heartbeat, opened
from tests.integration.service.storm import Storm
from tests.integration.service.storm_checks import check_storm
from tests.support.database_process import DatabaseProcess
from tests.support.databases import KINDS
from tests.support.event_stream import open_stream
from tests.support.http import API_PREFIX, JsonObject, open_api
from tests.support.hub_databases import on_each
from tests.support.patience import within
from tests.support.private_servers import PrivateMariaDb, PrivatePostgres, run_private
from tests.support.server_process import SSE_HUB, run_server
from tests.support.sql import query
from tests.support.tcp_proxy import run_proxy

STOPPED_SECONDS = 10  # longer than the timeout
TIMEOUT_SECONDS = 3
NOTE: JsonObject = {"event_type": "note", "data": 1, "persist": True}
# Everything but sending in a batch, whose answers are in its body.
CALLS: tuple[tuple[str, str, JsonObject | None], ...] = (
    ("POST", "/send", NOTE | {"user_id": "ada"}),
    ("POST", "/broadcast", NOTE),
    ("POST", "/messages/read", {"user_id": "ada", "all": True}),
    ("POST", "/subscribe", {"user_id": "ada", "group": "team"}),
    ("POST", "/unsubscribe", {"user_id": "ada", "group": "team"}),
    ("GET", "/messages?user_id=ada", None),
    ("GET", "/messages/pending?user_id=ada", None),
    ("GET", "/messages/unread?user_id=ada", None),
    ("GET", "/subscriptions?user_id=ada", None),
)
BATCH: JsonObject = {"messages": [NOTE | {"to": {"user_id": "ada"}}] * 3}


@asynccontextmanager
async def open_client(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=base_url, timeout=60, trust_env=False) as client:
        yield client


def settings(database_url: str) -> Mapping[str, str]:
    return {
        "SSE_DATABASE_URL": database_url,
        "SSE_DATABASE_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
        "SSE_HEARTBEAT_SECONDS": "0.2",
    }


async def check_calls_are_refused(client: httpx.AsyncClient) -> None:
    """All at once: 503 each, and none of them much later than the timeout, which a driver may take to let go."""

    async def check(method: str, path: str, body: JsonObject | None) -> None:
        response = await client.request(method, API_PREFIX + path, json=body)
        assert response.status_code == httpx.codes.SERVICE_UNAVAILABLE, (method, path, response.text)
        assert response.json()["code"] == "store_unavailable"
        assert int(response.headers["retry-after"]) > 0

    async def check_batch() -> None:
        results = (await client.post(f"{API_PREFIX}/send/batch", json=BATCH)).json()["results"]
        assert [result["error"]["code"] for result in results] == ["store_unavailable"] * 3

    async def check_health() -> None:
        assert (await client.get("/health/live")).status_code == httpx.codes.OK
        assert (await client.get("/health/ready")).status_code == httpx.codes.SERVICE_UNAVAILABLE

    async def check_info() -> None:
        assert (await client.get(f"{API_PREFIX}/info")).json()["storage"]["healthy"] is False

    async with within(5 * TIMEOUT_SECONDS), asyncio.TaskGroup() as tasks:
        for call in CALLS:
            tasks.create_task(check(*call))
        for check_another in (check_batch, check_health, check_info):
            tasks.create_task(check_another())


async def check_calls_are_served(client: httpx.AsyncClient) -> None:
    for method, path, body in CALLS:
        assert (await client.request(method, API_PREFIX + path, json=body)).is_success, path
    assert (await client.get("/health/ready")).status_code == httpx.codes.OK


async def hub_database_on(server: DatabaseProcess) -> str:
    """A database with the hub's tables, which `sse-hub migrate` has made."""
    await query(server.url, "CREATE DATABASE hub")
    url = server.url.set(database="hub").render_as_string(hide_password=False)
    migration = await asyncio.create_subprocess_exec(
        *(sys.executable, *SSE_HUB, "migrate"), env=os.environ | {"SSE_DATABASE_URL": url}
    )
    assert await migration.wait() == 0
    return url


@pytest.mark.parametrize("kind", [PrivatePostgres, PrivateMariaDb])
async def test_a_database_that_is_stopped_under_load_is_waited_for(kind: type[DatabaseProcess], tmp_path: Path) -> None:
    async with run_private(kind) as database:
        url = await hub_database_on(database)
        async with (
            run_server(tmp_path, settings(url)) as server,
            open_client(server.base_url) as client,
            open_stream(server.base_url, params={"user_id": "nobody", "event_types": "none"}) as idle,
        ):
            storm = Storm([server.base_url])

            async def stop_for_a_while() -> None:
                await database.stop()
                back = monotonic() + STOPPED_SECONDS
                await check_calls_are_refused(client)
                while monotonic() < back:
                    await idle.until(is_heartbeat, patience=2)
                assert storm.uptime.refused > 0
                await database.start()

            await opened(idle)
            await storm.run(stop_for_a_while)
            async with open_api(server.base_url) as api:
                await check_storm(storm, url, api)
            assert [reader.connections for reader in storm.readers] == [1, 1, 1, 1], server.log
            await check_calls_are_served(client)


@on_each(KINDS)
async def test_a_database_that_does_not_answer_is_not_waited_for_long(database_url: str, tmp_path: Path) -> None:
    async with (
        run_proxy(database_url) as (proxy, url),
        run_server(tmp_path, settings(url)) as server,
        open_client(server.base_url) as client,
        open_stream(server.base_url, params={"user_id": "ada", "unread": "1"}) as stream,
    ):
        await opened(stream)
        await check_calls_are_served(client)
        proxy.blackhole()
        await check_calls_are_refused(client)
        await check_calls_are_refused(client)
        assert "the database refused: TimeoutError" in server.log
        async with open_stream(server.base_url, params={"user_id": "ada"}) as refused:
            frame = await refused.next()
            assert (frame.event, frame.json) == ("sse.close", {"reason": "store_unavailable", "reconnect": True})
        await stream.until(is_heartbeat)
        await proxy.heal()
        await check_calls_are_served(client)
        await client.post(f"{API_PREFIX}/send", json=NOTE | {"user_id": "ada", "event_type": "last"})
        await stream.until(lambda frame: frame.event == "last")


@on_each(KINDS)
async def test_a_node_that_is_cut_off_with_the_log_locked_does_not_hold_up_the_others(
    database_url: str, tmp_path: Path
) -> None:
    faults = DatabaseFaults(database_url)
    async with (
        run_proxy(database_url) as (proxy, url),
        run_server(tmp_path, settings(url)) as cut_off,
        run_server(tmp_path, settings(database_url)) as other,
        open_client(cut_off.base_url) as client,
        open_api(other.base_url) as api,
        within(10 * TIMEOUT_SECONDS),
        asyncio.TaskGroup() as tasks,
    ):
        async with faults.log_locked() as foreign:
            tasks.create_task(client.post(f"{API_PREFIX}/broadcast", json=NOTE))
            await faults.until_it_holds_up(foreign)
            proxy.blackhole()
        # Now the node that is cut off has locked the log, and it can't be the one that unlocks it.
        while not (await api.post("/broadcast", NOTE | {"event_id": "e1"})).is_success:
            pass
