"""The log of persisted messages, on a SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, select, update

from sse_adapters.sql.appending import append_entries
from sse_adapters.sql.audience import EVERYTHING, first_of_each_priority, nearest, reach, reach_of
from sse_adapters.sql.connections import Connections, tried_again
from sse_adapters.sql.deliveries import bring_back
from sse_adapters.sql.lookup import messages_by_event_id, messages_by_seq, seq_before
from sse_adapters.sql.rows import MESSAGE_COLUMNS, to_head, to_message
from sse_adapters.sql.schema import log, message
from sse_adapters.sql.spans import LIMIT, Order
from sse_domain.cursor import Positions
from sse_domain.log import Commit, Entry
from sse_domain.message import Message, Receiver
from sse_domain.ports import LogIdentity, MessageLog
from sse_domain.replay import LogHead, ReadRequest, ReplayPage, page_length
from sse_domain.subscription import Audience

_READ = select(*MESSAGE_COLUMNS).where(message.c.id > bindparam("after")).order_by(message.c.id).limit(LIMIT)


class SqlMessageLog(MessageLog, LogIdentity):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @tried_again
    async def head(self) -> LogHead:
        async with self._connections.reading() as connection:
            return to_head((await connection.execute(select(log))).one())

    @tried_again
    async def append(self, entries: Sequence[Entry], now: datetime) -> Commit:
        if not entries:
            return Commit([], await self.head())
        async with self._connections.writing(append=True) as connection:
            return await append_entries(connection, entries, now)

    @tried_again
    async def read(self, after: int, limit: int) -> list[Message]:
        async with self._connections.reading() as connection:
            rows = await connection.execute(_READ, {"after": after, "limit": limit})
        return [to_message(row) for row in rows]

    @tried_again
    async def replay(self, audience: Audience, request: ReadRequest, now: datetime) -> ReplayPage:
        within = reach(audience, request.after, Positions.level(request.through), now)
        async with self._connections.reading() as connection:
            # What is owed comes before what it says, so that no more data is read than the page may hold.
            owed = await nearest(connection, within, request.limit + 1, read=False, order=Order.DELIVERY)
            length = page_length((found.data_bytes for found in owed), request.limit, request.max_bytes)
            messages = await messages_by_seq(connection, [found.seq for found in owed[:length]])
        return ReplayPage(tuple(messages), complete=length == len(owed))

    @tried_again
    async def find(self, event_ids: Sequence[str]) -> dict[str, Message]:
        async with self._connections.reading() as connection:
            return await messages_by_event_id(connection, event_ids)

    @tried_again
    async def seq_before(self, since: datetime) -> int:
        async with self._connections.reading() as connection:
            return await seq_before(connection, since)

    @tried_again
    async def first_owed(self, receiver: Receiver, after: Positions, now: datetime) -> tuple[int | None, ...]:
        async with self._connections.reading() as connection:
            return await first_of_each_priority(connection, reach_of(receiver, after, EVERYTHING, now), read=None)

    @tried_again
    async def rename(self, old: str, new: str, through: int) -> None:
        async with self._connections.writing() as connection:
            renamed = await connection.execute(update(log).where(log.c.epoch == old).values(epoch=new))
            if renamed.rowcount:
                await bring_back(connection, through)
