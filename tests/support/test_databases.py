"""The databases that tests are given: which server they are on, that they are empty, and that none of them stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support import databases
from tests.support.database_process import DatabaseProcess
from tests.support.databases import KINDS, Kind, fresh_database, server_url, session_database
from tests.support.in_thread import in_thread
from tests.support.ports import free_port
from tests.support.private_servers import PrivatePostgres, run_private
from tests.support.sql import answers, query

NAMES = {
    "postgresql": "SELECT datname FROM pg_database",
    "mysql": "SELECT schema_name FROM information_schema.schemata",
}


class NotInstalled(PrivatePostgres):
    @classmethod
    def programs(cls) -> None:
        return None


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def new_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if nothing had been looked for yet."""
    monkeypatch.setattr(databases, "_servers", {})
    monkeypatch.setattr(databases, "_private_servers", [])
    monkeypatch.setattr(databases, "_session_databases", {})
    yield
    databases.end()


def name_of(url: str) -> str:
    name = make_url(url).database
    assert name is not None
    return name


async def names(kind: Kind) -> set[str]:
    return {name for (name,) in await query(server_url(kind), NAMES[kind])}


def put_elsewhere(monkeypatch: pytest.MonkeyPatch, kind: Kind, private: type[DatabaseProcess]) -> None:
    """Nothing in the environment and nothing on the standard port; that leaves a private server."""
    place = databases._PLACES[kind]
    monkeypatch.delenv(place.variable, raising=False)
    nowhere = tuple(url.set(port=free_port()) for url in place.usual)
    monkeypatch.setitem(databases._PLACES, kind, replace(place, usual=nowhere, private=private))


async def test_a_fresh_database_is_empty_and_keeps_any_text(kind: Kind) -> None:
    async with fresh_database(kind) as one, fresh_database(kind) as other:
        await query(one, "CREATE TABLE note (text VARCHAR(20))")
        await query(one, "INSERT INTO note VALUES (:text)", text="žluť 🎉")
        assert await query(one, "SELECT text FROM note") == [("žluť 🎉",)]
        await query(other, "CREATE TABLE note (text VARCHAR(20))")
        assert await query(other, "SELECT text FROM note") == []


async def test_a_database_is_dropped_also_after_a_failure_and_under_an_open_transaction(kind: Kind) -> None:
    with suppress(ZeroDivisionError):
        async with fresh_database(kind) as url:
            assert name_of(url) in await names(kind)
            await query(url, "CREATE TABLE note (number INT)")
            engine = create_async_engine(url)
            connection = await engine.connect()
            await connection.exec_driver_sql("INSERT INTO note VALUES (1)")
            raise ZeroDivisionError
    assert name_of(url) not in await names(kind)
    with pytest.raises(SQLAlchemyError):
        await connection.exec_driver_sql("SELECT * FROM note")
    await connection.close()
    await engine.dispose()


async def test_a_run_has_one_database_until_it_ends(kind: Kind, new_run: None) -> None:
    url = session_database(kind)
    assert session_database(kind) == url
    assert name_of(url) in await names(kind)
    databases.end()
    assert name_of(url) not in await names(kind)


async def test_what_killed_runs_have_left_is_dropped_once_it_is_old_and_unused(kind: Kind, new_run: None) -> None:
    hour_ago = int(time.time()) - 3600
    made_at = {"leftover": hour_ago - 5, "used": hour_ago - 5, "young": hour_ago + 300}
    made = {what: f"sse_test_{at:08x}{number:08x}" for number, (what, at) in enumerate(made_at.items())}
    server = in_thread(databases._find(kind))
    assert isinstance(server, URL)
    engine = create_async_engine(server.set(database=made["used"]))
    try:
        for name in made.values():
            await query(server, f"CREATE DATABASE {name}")
        async with engine.connect():
            there = await names(kind)
    finally:
        await engine.dispose()
        for name in made.values():
            await databases._drop(kind, server, name)
    assert there & set(made.values()) == {made["used"], made["young"]}


async def test_a_server_that_the_environment_names_comes_first(monkeypatch: pytest.MonkeyPatch, new_run: None) -> None:
    async with run_private(PrivatePostgres) as server:
        monkeypatch.setenv("SSE_TEST_POSTGRES_URL", f"postgresql://postgres@127.0.0.1:{server.port}")
        assert server_url("postgresql") == server.url
        async with fresh_database("postgresql") as url:
            assert await answers(url)
            assert make_url(url) == server.url.set(database=name_of(url))
        # The server that was asked for, or none.
        await server.stop()
        databases._servers.clear()
        with pytest.raises(OSError, match="Connect call failed"):
            server_url("postgresql")


async def test_a_mysql_url_of_any_driver_gets_ours(monkeypatch: pytest.MonkeyPatch, new_run: None) -> None:
    found = server_url("mysql")
    monkeypatch.setenv("SSE_TEST_MYSQL_URL", found.set(drivername="mariadb", query={}).render_as_string(False))
    databases._servers.clear()
    assert server_url("mysql") == found


async def test_a_private_server_takes_the_place_of_none_and_ends_with_the_run(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, new_run: None
) -> None:
    put_elsewhere(monkeypatch, kind, databases._PLACES[kind].private)
    url = session_database(kind)
    assert make_url(url).port == server_url(kind).port not in (3306, 5432)
    assert await answers(url)
    databases.end()
    assert not await answers(url)


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_without_a_server_a_test_skips_and_in_ci_it_fails(
    monkeypatch: pytest.MonkeyPatch, new_run: None, ci: str, outcome: type[BaseException]
) -> None:
    put_elsewhere(monkeypatch, "postgresql", NotInstalled)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match=r"no PostgreSQL: SSE_TEST_POSTGRES_URL names none.*install-test-tools"):
        server_url("postgresql")
