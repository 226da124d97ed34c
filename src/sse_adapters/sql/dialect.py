"""What differs from one database to another. SQLite is the only one so far; any other URL is refused.

SQLite has one writer at a time. `BEGIN IMMEDIATE` takes that place at once, so that a transaction never fails halfway
because its view is out of date; others wait for it as long as the URL says (`?timeout=`, in seconds; 5 by default). In
WAL mode readers neither wait nor are waited for. `synchronous=FULL` is what makes a commit survive a loss of power.
"""

from __future__ import annotations

from enum import StrEnum
from sqlite3 import sqlite_version, sqlite_version_info
from typing import Any

from sqlalchemy import (
    URL,
    BindParameter,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    String,
    Table,
    TableValuedAlias,
    bindparam,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from sse_adapters.sql.errors import UnusableDatabase

OLDEST_SQLITE = (3, 38)
_NO_IMPLICIT_BEGIN = {"isolation_level": None}


class Begin(StrEnum):
    """How transactions on an engine begin."""

    TO_READ = "BEGIN"
    TO_WRITE = "BEGIN IMMEDIATE"


def supported_url(text: str) -> URL:
    """The URL of a database that the store can use. Raises UnusableDatabase."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise UnusableDatabase("the database URL is not one, such as sqlite+aiosqlite:///FILE") from error
    if url.drivername != "sqlite+aiosqlite":
        raise UnusableDatabase(f"{url.drivername}: not supported as a database; use sqlite+aiosqlite:///FILE")
    if not url.database or ":memory:" in url.database or url.query.get("mode") == "memory":
        raise UnusableDatabase("SQLite in memory is not supported: to keep nothing use memory://")
    if sqlite_version_info < OLDEST_SQLITE:
        raise UnusableDatabase(f"SQLite {sqlite_version} is too old: Python must be built with 3.38 or newer")
    return url


def make_engine(url: URL, begin: Begin, connections: int) -> AsyncEngine:
    """An engine with at most so many connections. It connects when it is first used. Its errors, which may be logged,
    never show a message's data."""
    engine = create_async_engine(
        url, pool_size=connections, max_overflow=0, connect_args=_NO_IMPLICIT_BEGIN, hide_parameters=True
    )
    _take_over(engine.sync_engine, begin)
    return engine


def make_migration_engine(url: URL) -> Engine:
    """An engine for a thread of its own, which it may block, and whose every transaction is to write.

    Without an event loop: when a connection can't be opened, the asynchronous driver leaves a thread behind that
    outlives a short-lived loop and complains.
    """
    engine = create_engine(
        url.set(drivername="sqlite"), poolclass=NullPool, connect_args=_NO_IMPLICIT_BEGIN, hide_parameters=True
    )
    _take_over(engine, Begin.TO_WRITE)
    return engine


def _take_over(engine: Engine, begin: Begin) -> None:
    """Set up each connection, and begin each transaction."""

    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA query_only = {int(begin is Begin.TO_READ)}")
        cursor.close()

    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin_transaction)


def json_list(json: BindParameter[str] | ColumnElement[str]) -> TableValuedAlias:
    """The elements of a JSON list as rows with one column, `value`; of NULL, none.

    One parameter carries a list of any length, so the statement stays the same.
    """
    return func.json_each(json).table_valued("value", joins_implicitly=True)


def in_json_list(column: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
    """Whether a column's value is in the JSON list that `parameter` carries."""
    return column.in_(select(json_list(bindparam(parameter, type_=String)).c.value))


def json_item(json: ColumnElement[Any], place: int) -> ColumnElement[Any]:
    """One element of a JSON list: a number or a string as itself, a list as JSON, null as NULL."""
    return func.json_extract(json, f"$[{place}]")


def greatest(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return func.max(one, other)


def least(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return func.min(one, other)


def insert_or_raise(table: Table, *columns: str) -> Insert:
    """Insert a row, or where its key is taken let `columns` rise to the row's values; they never fall."""
    statement = sqlite.insert(table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={name: func.max(table.c[name], statement.excluded[name]) for name in columns},
    )
