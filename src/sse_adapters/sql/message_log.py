"""The log of persisted messages, on a SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, func, select

from sse_adapters.sql.appending import append_entries
from sse_adapters.sql.audience import EVERYTHING, LIMIT, found, nearest, reach, reach_of
from sse_adapters.sql.connections import Connections
from sse_adapters.sql.lookup import messages_by_event_id, messages_by_seq, seq_before
from sse_adapters.sql.rows import MESSAGE_COLUMNS, to_head, to_message
from sse_adapters.sql.schema import log, message
from sse_domain.cursor import Positions
from sse_domain.message import Message, Priority, Receiver
from sse_domain.ports import Commit, Entry, MessageLog
from sse_domain.replay import LogHead, ReadRequest, ReplayPage, page_length
from sse_domain.subscription import Audience

_READ = select(*MESSAGE_COLUMNS).where(message.c.id > bindparam("after")).order_by(message.c.id).limit(LIMIT)
_REPLAY = nearest(found.c.id, found.c.data_bytes, read=False).order_by(found.c.priority.desc(), found.c.id).limit(LIMIT)
_FIRST_OWED = nearest(found.c.priority, func.min(found.c.id), read=None).group_by(found.c.priority)


class SqlMessageLog(MessageLog):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def head(self) -> LogHead:
        async with self._connections.reading() as connection:
            return to_head((await connection.execute(select(log))).one())

    async def append(self, entries: Sequence[Entry], now: datetime) -> Commit:
        if not entries:
            return Commit([], await self.head())
        async with self._connections.writing() as connection:
            return await append_entries(connection, entries, now)

    async def read(self, after: int, limit: int) -> list[Message]:
        async with self._connections.reading() as connection:
            rows = await connection.execute(_READ, {"after": after, "limit": limit})
        return [to_message(row) for row in rows]

    async def replay(self, audience: Audience, request: ReadRequest, now: datetime) -> ReplayPage:
        parameters = reach(audience, request.after, Positions.level(request.through), now)
        async with self._connections.reading() as connection:
            # What is owed comes before what it says, so that no more data is read than the page may hold.
            owed = (await connection.execute(_REPLAY, parameters | {"limit": request.limit + 1})).all()
            length = page_length((size for _, size in owed), request.limit, request.max_bytes)
            messages = await messages_by_seq(connection, [seq for seq, _ in owed[:length]])
        return ReplayPage(tuple(messages), complete=length == len(owed))

    async def find(self, event_ids: Sequence[str]) -> dict[str, Message]:
        async with self._connections.reading() as connection:
            return await messages_by_event_id(connection, event_ids)

    async def seq_before(self, since: datetime) -> int:
        async with self._connections.reading() as connection:
            return await seq_before(connection, since)

    async def first_owed(self, receiver: Receiver, after: Positions, now: datetime) -> tuple[int | None, ...]:
        parameters = reach_of(receiver, after, EVERYTHING, now)
        async with self._connections.reading() as connection:
            rows = await connection.execute(_FIRST_OWED, parameters | {"limit": 1})
        firsts = dict(rows.all())
        return tuple(firsts.get(priority) for priority in Priority)
