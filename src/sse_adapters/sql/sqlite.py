"""SQLite: the embedded default.

It has one writer at a time. `BEGIN IMMEDIATE` takes that place at once, so that a transaction never fails halfway
because its view is out of date; others wait for it as long as the URL says (`?timeout=`, in seconds; 5 by default). In
WAL mode readers neither wait nor are waited for. `synchronous=FULL` is what makes a commit survive a loss of power.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from sqlite3 import sqlite_version, sqlite_version_info
from time import sleep
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Delete,
    Engine,
    Insert,
    Table,
    create_engine,
    delete,
    event,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from sse_adapters.sql.database import Database
from sse_adapters.sql.errors import UnusableDatabase

T = TypeVar("T")

OLDEST = (3, 35)
READERS = 4
_NO_IMPLICIT_BEGIN = {"isolation_level": None}
_WAL_PAUSE_SECONDS = 0.02


class _Begin(StrEnum):
    """How transactions on an engine begin."""

    TO_READ = "BEGIN"
    TO_WRITE = "BEGIN IMMEDIATE"


class Sqlite(Database):
    names = ("sqlite",)
    driver = "aiosqlite"
    example = "sqlite+aiosqlite:///FILE"
    migrates_itself = True
    one_writer = True
    json_spans = True

    def check(self, url: URL) -> None:
        if not url.database or ":memory:" in url.database or url.query.get("mode") == "memory":
            raise UnusableDatabase("SQLite in memory is not supported: to keep nothing use memory://")
        if sqlite_version_info < OLDEST:
            raise UnusableDatabase(f"SQLite {sqlite_version} is too old: Python must be built with 3.35 or newer")

    def reading(self, url: URL, connections: int, timeout_seconds: float) -> AsyncEngine:
        return _engine(url, _Begin.TO_READ, READERS)

    def writing(self, url: URL, connections: int, timeout_seconds: float) -> AsyncEngine:
        return _engine(url, _Begin.TO_WRITE, 1)

    def migrating(self, url: URL, job: Callable[[Connection], T]) -> T:
        """Without an event loop: when a connection can't be opened, the asynchronous driver leaves a thread behind that
        outlives a short-lived loop and complains."""
        plain = url.set(drivername="sqlite")
        engine = create_engine(plain, poolclass=NullPool, connect_args=_NO_IMPLICIT_BEGIN, hide_parameters=True)
        _switch_to_wal(engine, float(str(url.query.get("timeout", 5))))
        _take_over(engine, _Begin.TO_WRITE)
        with engine.begin() as connection:
            return job(connection)

    def insert_or_raise(self, table: Table, *columns: str) -> Insert:
        statement = sqlite.insert(table)
        return statement.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={name: func.max(table.c[name], statement.excluded[name]) for name in columns},
        )

    def delete_some(self, table: Table, which: ColumnElement[bool], limit: ColumnElement[int]) -> Delete:
        key = list(table.primary_key)
        return delete(table).where(tuple_(*key).in_(select(*key).where(which).limit(limit).correlate(None)))

    def undone(self, error: DBAPIError) -> bool:
        return False


def _engine(url: URL, begin: _Begin, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url, pool_size=connections, max_overflow=0, connect_args=_NO_IMPLICIT_BEGIN, hide_parameters=True
    )
    _take_over(engine.sync_engine, begin)
    return engine


def _take_over(engine: Engine, begin: _Begin) -> None:
    """Set up each connection, and begin each transaction."""

    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA query_only = {int(begin is _Begin.TO_READ)}")
        cursor.close()

    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    def undo(connection: Any, _record: object, _error: BaseException | None) -> None:
        # SQLite closes a connection in earnest, and ends its transaction, only once no cursor of it is left; and the
        # error by which a cancelled call ends refers to one.
        connection.rollback()

    event.listen(engine, "connect", prepare)
    event.listen(engine, "invalidate", undo)
    event.listen(engine, "begin", begin_transaction)


def _switch_to_wal(engine: Engine, timeout_seconds: float) -> None:
    """The file stays in this mode. Where several processes switch a new file at once, all but one are told at once that
    it is locked, however long they are prepared to wait; so they must ask again."""
    for tries_left in reversed(range(int(timeout_seconds / _WAL_PAUSE_SECONDS) + 1)):
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            return
        except OperationalError as error:
            if "locked" not in str(error.orig) or not tries_left:
                raise
            sleep(_WAL_PAUSE_SECONDS)
