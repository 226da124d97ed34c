"""Harm that comes to a hub's database from outside: from its administrators, and from others who use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random, uniform

from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from tests.support.sql import query

# InnoDB shows who waits as it was, until nobody has looked for 0.1 s: those who poll it must not do so in step.
_POLL_SECONDS = (0.12, 0.4)
_AHEAD = 20  # seqs that the log goes on before it meets the foreign row

_CONNECTIONS = {
    "postgresql": "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}
_KILL = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL {}"}
_LOCK_LOG = {
    "postgresql": "SELECT id FROM app_sse_log FOR UPDATE",
    "mysql": "SELECT id FROM app_sse_log FOR UPDATE",
    "sqlite": "BEGIN IMMEDIATE",
}
_OWN_CONNECTION = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}
_HOLDS_UP = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE :connection = ANY (pg_blocking_pids(pid))",
    "mysql": "SELECT count(*) FROM sys.innodb_lock_waits WHERE blocking_pid = :connection",
}
_FOREIGN_MESSAGE = text(
    "INSERT INTO app_sse_message (id, event_id, event_type, receiver_type, receiver_id, priority, status, created_at,"
    " data_bytes, data) VALUES (:id, 'foreign', 'foreign', 'user', 'nobody', 0, 0, CURRENT_TIMESTAMP, 2, '{}')"
)
# What a database weighs when it chooses whose transaction to undo.
_WEIGHTY = text("INSERT INTO app_sse_read (user_id, seq) VALUES ('foreign', :seq)")


class DatabaseFaults:
    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._kind = make_url(database_url).get_backend_name()

    async def kill_connections(self, random: Random) -> None:
        """End some of all connections to the database, whatever is under way on them."""
        for (connection,) in await query(self._url, _CONNECTIONS[self._kind]):
            if random.random() < 0.5:
                with suppress(DBAPIError):  # it has ended meanwhile
                    await query(self._url, _KILL[self._kind].format(connection))

    @asynccontextmanager
    async def log_locked(self) -> AsyncIterator[AsyncConnection]:
        """While this lasts nothing can be appended to the log, which is locked by this connection."""
        async with self._foreign() as connection:
            await connection.exec_driver_sql(_LOCK_LOG[self._kind])
            yield connection

    async def until_it_holds_up(self, foreign: AsyncConnection) -> None:
        """Wait until somebody waits for what this connection has locked."""
        number = (await foreign.exec_driver_sql(_OWN_CONNECTION[self._kind])).scalar_one()
        while True:
            [(held_up,)] = await query(self._url, _HOLDS_UP[self._kind], connection=number)
            if held_up:
                return
            # It is seen from outside only; there is nothing to await but the next look.
            await asyncio.sleep(uniform(*_POLL_SECONDS))

    async def deadlock(self, seen: Callable[[], bool]) -> None:
        """Let an append and a foreign transaction wait for each other, until it is `seen` to have been the append that
        the database undid: it may choose the other."""
        while not seen():
            with suppress(DBAPIError):
                await self._wait_for_each_other()

    async def _wait_for_each_other(self) -> None:
        async with self._foreign() as connection:
            await connection.execute(_WEIGHTY, [{"seq": seq} for seq in range(1000)])
            [(last_seq,)] = await query(self._url, "SELECT last_seq FROM app_sse_log")
            await connection.execute(_FOREIGN_MESSAGE, {"id": last_seq + _AHEAD})
            await self.until_it_holds_up(connection)
            await connection.exec_driver_sql(_LOCK_LOG[self._kind])

    @asynccontextmanager
    async def _foreign(self) -> AsyncIterator[AsyncConnection]:
        """A transaction of somebody else's, undone in the end."""
        options = {"connect_args": {"isolation_level": None}} if self._kind == "sqlite" else {}
        engine = create_async_engine(self._url, poolclass=NullPool, **options)
        try:
            async with engine.connect() as connection:
                yield connection
        finally:
            await engine.dispose()
