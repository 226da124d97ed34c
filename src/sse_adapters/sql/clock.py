"""The clock of a database server."""

from __future__ import annotations

from datetime import datetime

from sse_adapters.sql.connections import Connections, tried_again
from sse_adapters.sql.databases import database_of
from sse_domain.ports import StoreTime


class SqlTime(StoreTime):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @tried_again
    async def now(self) -> datetime | None:
        async with self._connections.reading() as connection:
            clock = database_of(connection).clock
            return None if clock is None else (await connection.execute(clock)).scalar_one()
