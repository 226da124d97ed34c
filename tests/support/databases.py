"""Empty databases for tests, on a real PostgreSQL and a real MySQL or MariaDB, wherever those come from.

A server is, first found first taken: the one whose URL the environment names, one on the standard local port, a
private one started from installed programs. Where there is none, the test that asks skips and says what is missing;
with `CI=true` it fails. Servers that were found are shared: faults are for private ones (`private_servers`) and for
connections through a proxy (`tcp_proxy`).

Every URL is SQLAlchemy's, with the asynchronous driver: `postgresql+asyncpg://…`, `mysql+asyncmy://…?charset=utf8mb4`.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import secrets
import threading
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from tests.support.database_process import DatabaseProcess
from tests.support.in_thread import in_thread
from tests.support.missing import missing
from tests.support.private_servers import PrivateMariaDb, PrivatePostgres
from tests.support.sql import answers, query

Kind = Literal["postgresql", "mysql"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# The time tells how old a leftover is: a server doesn't say.
_NAME = re.compile("sse_test_(?P<time>[0-9a-f]{8})[0-9a-f]{8}")
_LEFTOVER_SECONDS = 3600
_DROPS = 6  # PostgreSQL gives those that it cuts off five seconds to end, each time


def server_url(kind: Kind) -> URL:
    """The server of this kind, for a user who may create databases. Blocks while a private one is started."""
    with _lock:
        if kind not in _servers:
            _servers[kind] = in_thread(_find(kind))
        found = _servers[kind]
    if isinstance(found, str):
        missing(found)
    return found


def session_database(kind: Kind) -> str:
    """The URL of one database for the whole run, empty when it is first asked for, dropped at the end of the run."""
    server = server_url(kind)
    with _lock:
        if kind not in _session_databases:
            _session_databases[kind] = in_thread(_create(kind, server))
        return _text(_session_databases[kind])


@asynccontextmanager
async def fresh_database(kind: Kind) -> AsyncIterator[str]:
    """The URL of a new, empty database. It is dropped at the end of the block, and whoever still uses it cut off."""
    server = await asyncio.to_thread(server_url, kind)
    database = await _create(kind, server)
    try:
        yield _text(database)
    finally:
        await _drop(kind, server, _name(database))


def end() -> None:
    """Drop this run's databases and remove its private servers."""
    with _lock, ExitStack() as all_of_it:
        all_of_it.callback(_servers.clear)
        while _private_servers:
            all_of_it.callback(in_thread, _private_servers.pop().remove())
        while _session_databases:
            kind, database = _session_databases.popitem()
            server = _servers[kind]
            assert isinstance(server, URL)
            all_of_it.callback(in_thread, _drop(kind, server, _name(database)))


_lock = threading.Lock()
# What is missing instead, where no server was found.
_servers: dict[Kind, URL | str] = {}
_private_servers: list[DatabaseProcess] = []
_session_databases: dict[Kind, URL] = {}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where to look for a server of one kind."""

    product: str
    variable: str
    usual: tuple[URL, ...]
    question: str  # whether the user of a usual URL may do all that tests do
    private: type[DatabaseProcess]

    @property
    def missing(self) -> str:
        return (
            f"no {self.product}: {self.variable} names none, none on 127.0.0.1:{self.usual[0].port} lets "
            f"{' or '.join(str(url.username) for url in self.usual)} in without a password, and its programs are not "
            "installed: scripts/install-test-tools installs them"
        )


def _usual_postgres(user: str) -> URL:
    return URL.create("postgresql+asyncpg", user, None, "127.0.0.1", 5432, "postgres")


_PLACES: dict[Kind, _Place] = {
    "postgresql": _Place(
        product="PostgreSQL",
        variable="SSE_TEST_POSTGRES_URL",
        usual=(_usual_postgres("postgres"), _usual_postgres(getpass.getuser())),
        question="SELECT rolsuper FROM pg_roles WHERE rolname = current_user",
        private=PrivatePostgres,
    ),
    "mysql": _Place(
        product="MySQL or MariaDB",
        variable="SSE_TEST_MYSQL_URL",
        usual=(URL.create("mysql+asyncmy", "root", None, "127.0.0.1", 3306, query={"charset": "utf8mb4"}),),
        question="SELECT 1",
        private=PrivateMariaDb,
    ),
}


async def _find(kind: Kind) -> URL | str:
    place = _PLACES[kind]
    if given := os.environ.get(place.variable):
        url = _with_driver(kind, make_url(given))
        await query(url, "SELECT 1")  # it was asked for: that it can't be reached is an error
        await _drop_leftovers(kind, url)
        return url
    for url in place.usual:
        if await answers(url, place.question):
            await _drop_leftovers(kind, url)
            return url
    if place.private.programs() is None:
        return place.missing
    private = place.private()
    _private_servers.append(private)
    await private.start()
    return private.url


def _with_driver(kind: Kind, url: URL) -> URL:
    if kind == "mysql":
        return url.set(drivername="mysql+asyncmy").update_query_dict({"charset": "utf8mb4"})
    return url.set(drivername="postgresql+asyncpg", database=url.database or "postgres")


async def _create(kind: Kind, server: URL) -> URL:
    name = f"sse_test_{int(time.time()):08x}{secrets.token_hex(4)}"
    # The collation stays the server's own. Where it counts, the schema has to name it.
    encoding = "ENCODING 'UTF8' TEMPLATE template0" if kind == "postgresql" else "CHARACTER SET utf8mb4"
    await query(server, f"CREATE DATABASE {name} {encoding}")
    return server.set(database=name)


async def _drop(kind: Kind, server: URL, name: str) -> None:
    if kind == "postgresql":
        drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
        for _ in range(_DROPS - 1):
            with suppress(SQLAlchemyError):  # one of them has not ended yet
                await query(server, drop)
                return
        await query(server, drop)
        return
    # An open transaction would hold the statement up for as long as it lasts.
    users = "SELECT id FROM information_schema.processlist WHERE db = :name"
    for (connection,) in await query(server, users, name=name):
        with suppress(SQLAlchemyError):  # it has ended meanwhile
            await query(server, f"KILL {connection}")
    await query(server, f"DROP DATABASE IF EXISTS {name}")


async def _drop_leftovers(kind: Kind, server: URL) -> None:
    """Drop what runs that were killed have left, unless somebody uses it."""
    unused = {
        "postgresql": "SELECT datname FROM pg_database WHERE datname LIKE 'sse!_test!_%' ESCAPE '!' AND datname NOT IN"
        " (SELECT datname FROM pg_stat_activity WHERE datname IS NOT NULL)",
        "mysql": "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'sse!_test!_%' ESCAPE '!'"
        " AND schema_name NOT IN (SELECT db FROM information_schema.processlist WHERE db IS NOT NULL)",
    }
    for (name,) in await query(server, unused[kind]):
        made = _NAME.fullmatch(name)
        if made and int(made["time"], 16) < time.time() - _LEFTOVER_SECONDS:
            await _drop(kind, server, name)


def _name(database: URL) -> str:
    assert database.database is not None
    return database.database


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
