"""The databases' own multi-row inserts, through their own drivers with nothing before them: the least a log can cost.

Every way commits the rows that it is given by themselves and is as durable as the store's transactions are.
"""
# ruff: noqa: S608 - no value comes from outside

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from datetime import datetime
from typing import Any

import asyncmy
import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import URL, make_url

from sse_adapters.sql.schema import message

Row = tuple[Any, ...]
Insert = Callable[[Sequence[Row]], Awaitable[None]]
"""Inserts these rows, whose values are the driver's, in the order of the table's columns; always as many at once."""

_COLUMNS = message.c.keys()
_INTO = f"INSERT INTO {message.name} ({', '.join(_COLUMNS)})"


def own_ways(kind: str) -> Mapping[str, Callable[[str, int], AbstractAsyncContextManager[Insert]]]:
    """The ways that there are on this kind of database; each is opened with the URL of one that is up to date, and with
    how many rows will be inserted at once.
    """
    return {
        "sqlite": {"executemany": _sqlite_many, "VALUES of many rows": _sqlite_values},
        "postgresql": {
            "executemany": _postgresql_many,
            "VALUES of many rows": _postgresql_values,
            "SELECT of unnest": _postgresql_unnest,
        },
        "mysql": {"executemany": _mysql_many, "executemany, prepared": _mysql_bulk},
    }[kind]


def native_time(kind: str, time: datetime) -> object:
    """A time as the driver takes it."""
    return {
        "sqlite": time.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "postgresql": time,
        "mysql": time.replace(tzinfo=None),
    }[kind]


@asynccontextmanager
async def _sqlite_many(url: str, rows_at_once: int) -> AsyncIterator[Insert]:
    statement = f"{_INTO} VALUES {_group('?')}"
    with closing(_sqlite(url)) as connection:

        async def insert(rows: Sequence[Row]) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statement, rows)
            connection.execute("COMMIT")

        yield insert


@asynccontextmanager
async def _sqlite_values(url: str, rows_at_once: int) -> AsyncIterator[Insert]:
    statement = f"{_INTO} VALUES {', '.join([_group('?')] * rows_at_once)}"
    with closing(_sqlite(url)) as connection:

        async def insert(rows: Sequence[Row]) -> None:
            connection.execute(statement, _flat(rows))

        yield insert


@asynccontextmanager
async def _postgresql_many(url: str, rows_at_once: int) -> AsyncIterator[Insert]:
    async with _postgresql(url) as connection:
        statement = await connection.prepare(_one_row())
        yield statement.executemany  # which is a transaction of its own


@asynccontextmanager
async def _postgresql_values(url: str, rows_at_once: int) -> AsyncIterator[Insert]:
    width = len(_COLUMNS)
    groups = (_group(f"${row * width + place}" for place in range(1, width + 1)) for row in range(rows_at_once))
    async with _postgresql(url) as connection:
        statement = await connection.prepare(f"{_INTO} VALUES {', '.join(groups)}")

        async def insert(rows: Sequence[Row]) -> None:
            await statement.fetch(*_flat(rows))

        yield insert


@asynccontextmanager
async def _postgresql_unnest(url: str, rows_at_once: int) -> AsyncIterator[Insert]:
    async with _postgresql(url) as connection:
        types = (await connection.prepare(_one_row())).get_parameters()
        lists = ", ".join(f"${place}::{each.name}[]" for place, each in enumerate(types, start=1))
        statement = await connection.prepare(f"{_INTO} SELECT * FROM unnest({lists})")

        async def insert(rows: Sequence[Row]) -> None:
            await statement.fetch(*zip(*rows, strict=True))

        yield insert


@asynccontextmanager
async def _mysql_many(url: str, rows_at_once: int) -> AsyncIterator[Insert]:
    """The driver makes one statement of it, with the values of all rows as text."""
    async with _mysql(url, {}) as insert:
        yield insert


@asynccontextmanager
async def _mysql_bulk(url: str, rows_at_once: int) -> AsyncIterator[Insert]:
    """MariaDB takes the values of all rows of a prepared statement at once; for MySQL it is the same as the other."""
    async with _mysql(url, {"stmt_cache_size": 10}) as insert:
        yield insert


def _sqlite(url: str) -> sqlite3.Connection:
    connection = sqlite3.connect(make_url(url).database or "", isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")  # the file itself stays in WAL mode
    return connection


@asynccontextmanager
async def _postgresql(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(**_server(url))
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _mysql(url: str, options: Mapping[str, Any]) -> AsyncIterator[Insert]:
    statement = f"{_INTO} VALUES {_group('%s')}"
    connection = await asyncmy.connect(**_server(url), charset="utf8mb4", autocommit=True, **options)
    try:
        async with connection.cursor() as cursor:

            async def insert(rows: Sequence[Row]) -> None:
                await cursor.executemany(statement, rows)

            yield insert
    finally:
        await connection.ensure_closed()


def _server(url: str) -> dict[str, Any]:
    parts: URL = make_url(url)
    return {
        "host": parts.host,
        "port": parts.port,
        "user": parts.username,
        "password": parts.password or "",
        "database": parts.database,
    }


def _one_row() -> str:
    return f"{_INTO} VALUES {_group(f'${place}' for place in range(1, len(_COLUMNS) + 1))}"


def _group(values: Any) -> str:
    return f"({', '.join([values] * len(_COLUMNS) if isinstance(values, str) else values)})"


def _flat(rows: Sequence[Row]) -> list[Any]:
    return [value for row in rows for value in row]
