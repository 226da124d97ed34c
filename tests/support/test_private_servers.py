"""The private database servers: what they have committed stays, whatever is done to them, and they leave nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support.database_process import DatabaseProcess
from tests.support.private_servers import PrivateMariaDb, PrivatePostgres, run_private
from tests.support.process_tree import KilledProcesses
from tests.support.sql import answers, query


@pytest.fixture(params=[PrivatePostgres, PrivateMariaDb], ids=lambda kind: kind.product)
def kind(request: pytest.FixtureRequest) -> type[DatabaseProcess]:
    chosen: type[DatabaseProcess] = request.param
    return chosen


async def test_a_stopped_server_refuses_and_comes_back_on_its_port_with_its_data(kind: type[DatabaseProcess]) -> None:
    async with run_private(kind) as server:
        await query(server.url, "CREATE DATABASE hub")
        database, first_pid = server.url.set(database="hub"), server.pid
        await query(database, "CREATE TABLE note (number INT)")
        await query(database, "INSERT INTO note VALUES (1)")
        await server.stop()
        assert not await answers(server.url)
        with pytest.raises(RuntimeError, match="not running"):
            _ = server.pid
        await server.start()
        assert server.pid != first_pid
        assert await query(database, "SELECT number FROM note") == [(1,)]


async def test_a_killed_server_keeps_what_was_committed_and_nothing_else(kind: type[DatabaseProcess]) -> None:
    async with run_private(kind) as server:
        await query(server.url, "CREATE DATABASE hub")
        database = server.url.set(database="hub")
        await query(database, "CREATE TABLE note (number INT)")
        engine = create_async_engine(database)
        async with engine.connect() as connection:
            await connection.exec_driver_sql("INSERT INTO note VALUES (1)")
            await connection.commit()
            await connection.exec_driver_sql("INSERT INTO note VALUES (2)")
            await server.kill9()
            with pytest.raises(SQLAlchemyError):
                await connection.commit()
        await engine.dispose()
        await server.start()
        assert await query(database, "SELECT number FROM note") == [(1,)]


async def test_a_kill_reaches_a_connection_that_is_busy() -> None:
    async with run_private(PrivatePostgres) as server:
        busy = asyncio.create_task(query(server.url, "DO $$ BEGIN LOOP END LOOP; END $$"))
        others = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %' AND pid <> pg_backend_pid()"
        while not await answers(server.url, others):
            pass
        await server.kill9()
        with pytest.raises(SQLAlchemyError):
            await busy
        await server.start()
        assert not await answers(server.url, others)


async def test_an_immediate_stop_of_postgresql_ends_in_a_recovery() -> None:
    async with run_private(PrivatePostgres) as server:
        await server.stop_immediately()
        await server.start()
        assert "automatic recovery in progress" in server.log


async def test_two_servers_are_strangers(kind: type[DatabaseProcess]) -> None:
    async with run_private(kind) as one, run_private(kind) as other:
        await query(one.url, "CREATE DATABASE hub")
        assert await answers(one.url.set(database="hub"))
        assert not await answers(other.url.set(database="hub"))


async def test_a_removed_server_leaves_no_data(kind: type[DatabaseProcess]) -> None:
    async with run_private(kind) as server:
        assert server._directory is not None
        directory = server._directory
        assert directory.exists()
    assert not directory.exists()
    assert not await answers(server.url)


async def test_a_server_that_ends_at_its_start_shows_its_log(kind: type[DatabaseProcess]) -> None:
    kind.installed()
    server = kind()
    try:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", server.port))
            with pytest.raises(AssertionError, match=r"(?s)ended with 1 at its start.*Address already in use"):
                await server.start()
        await server.start()
        assert await answers(server.url)
    finally:
        await server.remove()


A_RUN = """
import asyncio, sys
from tests.support import private_servers

async def run():
    server = getattr(private_servers, sys.argv[1])()
    await server.start()
    print(server.url, server._directory, server._watchdog.pid, flush=True)
    sys.stdin.read()

asyncio.run(run())
"""


def start_run(kind: type[DatabaseProcess]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", A_RUN, kind.__name__],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def is_gone(directory: str) -> bool:
    return not Path(directory).exists()


async def test_a_server_does_not_outlive_a_test_run_that_was_killed(kind: type[DatabaseProcess]) -> None:
    with start_run(kind) as run:
        assert run.stdout is not None
        url, directory, watchdog = (await asyncio.to_thread(run.stdout.readline)).split()
        assert await answers(url)
        handle = os.pidfd_open(int(watchdog))
        run.kill()
        await asyncio.to_thread(KilledProcesses([handle]).wait, 30)
        os.close(handle)
    assert not await answers(url)
    assert is_gone(directory)
