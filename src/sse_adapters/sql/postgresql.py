"""PostgreSQL, through asyncpg.

Every connection tells the server how long to bear with it. So a statement that hangs ends, and a node that stops in the
middle of a transaction, with the log's row locked, does not hold up the others for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    ARRAY,
    URL,
    ColumnElement,
    Connection,
    Delete,
    Insert,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from sse_adapters.sql.column_types import UtcDateTime
from sse_adapters.sql.database import Database

T = TypeVar("T")

_ONE_MIGRATION = text("SELECT pg_advisory_xact_lock(hashtext('app_sse_migration'))")
_SERIALIZATION_FAILURE, _DEADLOCK = "40001", "40P01"


class PostgreSql(Database):
    names = ("postgresql",)
    driver = "asyncpg"
    example = "postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE"
    lateral = True
    clock = select(func.clock_timestamp(type_=UtcDateTime))

    def check(self, url: URL) -> None:
        """Nothing to find fault with: the server itself says what is wrong."""

    def reading(self, url: URL, connections: int, timeout_seconds: float) -> AsyncEngine:
        return _engine(url, "REPEATABLE READ", connections, timeout_seconds)

    def writing(self, url: URL, connections: int, timeout_seconds: float) -> AsyncEngine:
        return _engine(url, "READ COMMITTED", connections, timeout_seconds)

    def migrating(self, url: URL, job: Callable[[Connection], T]) -> T:
        async def run() -> T:
            engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True)
            async with engine.begin() as connection:
                await connection.execute(_ONE_MIGRATION)
                return await connection.run_sync(job)

        return asyncio.run(run())

    async def insert_rows(self, connection: AsyncConnection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        # One statement with a list for each column: the server plans and runs it once, not once for each row.
        lists = zip(table.c.keys(), map(list, zip(*rows, strict=True)), strict=True)
        await connection.execute(_insert_from_lists(table), dict(lists))

    def insert_or_raise(self, table: Table, *columns: str) -> Insert:
        statement = postgresql.insert(table)
        return statement.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={name: func.greatest(table.c[name], statement.excluded[name]) for name in columns},
        )

    def delete_some(self, table: Table, which: ColumnElement[bool], limit: ColumnElement[int]) -> Delete:
        # Whatever the planner thinks of a subquery: the places of rows that are found lead to them straight away.
        place: ColumnElement[Any] = literal_column("ctid")
        places = select(place).select_from(table).where(which).limit(limit).correlate(None)
        return delete(table).where(place == func.any(func.array(places.scalar_subquery())))

    def undone(self, error: DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) in (_SERIALIZATION_FAILURE, _DEADLOCK)


@cache
def _insert_from_lists(table: Table) -> Insert:
    lists = [bindparam(column.name, type_=ARRAY(column.type)) for column in table.c]
    rows = func.unnest(*lists).table_valued(*table.c.keys()).render_derived()
    return insert(table).from_select(table.c.keys(), select(rows))


def _engine(url: URL, isolation_level: str, connections: int, timeout_seconds: float) -> AsyncEngine:
    milliseconds = str(int(timeout_seconds * 1000))
    bounds = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    return create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=timeout_seconds,
        isolation_level=isolation_level,
        hide_parameters=True,
        connect_args={
            "timeout": timeout_seconds,
            "server_settings": {"application_name": "sse-hub", "timezone": "UTC"} | dict.fromkeys(bounds, milliseconds),
        },
    )
