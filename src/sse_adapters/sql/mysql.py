"""MySQL and MariaDB, through asyncmy.

InnoDB undoes only the statement that waited too long for a lock, and the transaction goes on; here every error ends it.
`INSERT … ON DUPLICATE KEY UPDATE` stands in for what others write with ON CONFLICT, and nothing is ever asked for by
RETURNING.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import URL, ColumnElement, Connection, Delete, Insert, Table, delete, func, select, text
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from sse_adapters.sql.column_types import MYSQL, UtcDateTime
from sse_adapters.sql.database import Database
from sse_adapters.sql.errors import UnusableDatabase

T = TypeVar("T")

# The driver's warnings are the server's notes on DDL and upserts; what matters comes as an error.
logging.getLogger("asyncmy").setLevel(logging.ERROR)

_MIGRATION_WAIT_SECONDS = 600
_ONE_MIGRATION = text(f"SELECT GET_LOCK(CONCAT('app_sse_migration.', DATABASE()), {_MIGRATION_WAIT_SECONDS})")
_DEADLOCK = 1213
# Each of the two kinds executes the comment that is meant for it. MySQL has no bound for idle transactions.
_BOUNDS = (
    "SET time_zone = '+00:00', innodb_lock_wait_timeout = {seconds}"
    " /*M!100300 , max_statement_time = {seconds}, idle_transaction_timeout = {seconds} */"
    " /*!80000 , max_execution_time = {seconds}000 */"
)


class MySql(Database):
    names = MYSQL
    driver = "asyncmy"
    example = "mysql+asyncmy://USER:PASSWORD@HOST/DATABASE"
    transactional_ddl = False
    clock = select(func.utc_timestamp(6, type_=UtcDateTime))

    def check(self, url: URL) -> None:
        if not url.database:
            raise UnusableDatabase("the database URL names no database")

    def reading(self, url: URL, connections: int, timeout_seconds: float) -> AsyncEngine:
        return _engine(url, "REPEATABLE READ", connections, timeout_seconds)

    def writing(self, url: URL, connections: int, timeout_seconds: float) -> AsyncEngine:
        return _engine(url, "READ COMMITTED", connections, timeout_seconds)

    def migrating(self, url: URL, job: Callable[[Connection], T]) -> T:
        async def run() -> T:
            engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True)
            async with engine.begin() as connection:
                if (await connection.execute(_ONE_MIGRATION)).scalar() != 1:
                    raise UnusableDatabase("another migration has been running for ten minutes")
                return await connection.run_sync(job)

        return asyncio.run(run())

    def insert_or_raise(self, table: Table, *columns: str) -> Insert:
        statement = mysql.insert(table)
        return statement.on_duplicate_key_update(
            {name: func.greatest(table.c[name], statement.inserted[name]) for name in columns}
        )

    def delete_some(self, table: Table, which: ColumnElement[bool], limit: ColumnElement[int]) -> Delete:
        # It takes no subquery with a LIMIT, but a LIMIT itself.
        return delete(table).where(which).ext(mysql.limit(limit))

    def undone(self, error: DBAPIError) -> bool:
        return error.orig is not None and error.orig.args[0] == _DEADLOCK


def _engine(url: URL, isolation_level: str, connections: int, timeout_seconds: float) -> AsyncEngine:
    seconds = max(1, int(timeout_seconds))
    return create_async_engine(
        url.update_query_dict({"charset": "utf8mb4"}),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=timeout_seconds,
        isolation_level=isolation_level,
        hide_parameters=True,
        connect_args={
            "connect_timeout": seconds,
            "init_command": _BOUNDS.format(seconds=seconds),
        },
    )
