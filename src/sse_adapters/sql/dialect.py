"""What differs from one database to another. SQLite is the only one so far; any other URL is refused.

SQLite has one writer at a time. `BEGIN IMMEDIATE` takes that place at once, so that a transaction never fails halfway
because its view is out of date; others wait for it up to BUSY_SECONDS. In WAL mode readers neither wait nor are waited
for. `synchronous=FULL` is what makes a commit survive a loss of power.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    URL,
    BindParameter,
    ColumnElement,
    Connection,
    Insert,
    String,
    Table,
    TableValuedAlias,
    bindparam,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from sse_adapters.sql.errors import UnusableDatabase

BUSY_SECONDS = 5.0

# How many rows the statement before this one changed. The driver doesn't say for one that begins with WITH.
ROWS_CHANGED = select(func.changes())


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
    return url


def make_engine(url: URL, begin: Begin, connections: int) -> AsyncEngine:
    """An engine with at most so many connections. It connects when it is first used."""
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        # Transactions begin when this module says so, not when the driver thinks that one is needed.
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
    )

    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA query_only = {int(begin is Begin.TO_READ)}")
        cursor.close()

    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin_transaction)
    return engine


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
