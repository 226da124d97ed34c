"""The store on a SQL database: one adapter per driven port, over the same tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import select, update

from sse_adapters.sql import migrate, schema
from sse_adapters.sql.clock import SqlTime
from sse_adapters.sql.connections import Connections
from sse_adapters.sql.databases import database_for
from sse_adapters.sql.inbox import SqlInbox
from sse_adapters.sql.message_log import SqlMessageLog
from sse_adapters.sql.outbox import SqlOutbox
from sse_adapters.sql.retention import SqlRetention
from sse_adapters.sql.subscriptions import SqlSubscriptions
from sse_adapters.sql.unread_stamps import SqlUnreadStamps


class SqlStore:
    """A store that is made anywhere, started in the event loop that is to use it, and closed there.

    `epoch` (8 of `[0-9a-z]`) renames the log at the start, as is due after restoring a backup: cursors given before
    are then answered with `sse.reset` (SPEC §3.5). Left out, the log keeps its name. Of a server at most `connections`
    are used to read, as many to write, and one for the log; a transaction there is given up after `timeout_seconds`.

    Raises UnusableDatabase for a URL that is not supported.
    """

    def __init__(
        self, url: str, *, epoch: str | None = None, connections: int = 5, timeout_seconds: float = 10.0
    ) -> None:
        self._url = url
        self._epoch = epoch
        self._database, parsed = database_for(url)
        self._connections = Connections(self._database, parsed, count=connections, timeout_seconds=timeout_seconds)
        self.log = SqlMessageLog(self._connections)
        self.outbox = SqlOutbox(self._connections)
        self.inbox = SqlInbox(self._connections)
        self.subscriptions = SqlSubscriptions(self._connections)
        self.retention = SqlRetention(self._connections)
        self.stamps = SqlUnreadStamps(self._connections)
        self.time = SqlTime(self._connections)

    async def start(self) -> None:
        """Bring the tables of an embedded database up to date; those of a server must be.

        Raises UnusableDatabase, and StoreUnavailable when it can't be read after.
        """
        if self._database.migrates_itself:
            await migrate.upgrade(self._url)
        else:
            await migrate.check(self._url)
        if self._epoch is not None:
            async with self._connections.writing() as connection:
                await connection.execute(update(schema.log).values(epoch=self._epoch))
        await self.ping()

    async def ping(self) -> None:
        """Ask the database for a sign of life. Raises StoreUnavailable."""
        async with self._connections.reading() as connection:
            await connection.execute(select(schema.log.c.id))

    async def close(self) -> None:
        """Close every connection. Whatever is asked of the store after raises StoreUnavailable. Idempotent."""
        await self._connections.close()


@asynccontextmanager
async def open_sql_store(url: str, *, epoch: str | None = None) -> AsyncIterator[SqlStore]:
    """A started store, closed in the end. See SqlStore."""
    store = SqlStore(url, epoch=epoch)
    try:
        await store.start()
        yield store
    finally:
        await store.close()
