"""The log of persisted messages, on a SQL database.

Appending begins by raising the log's one row by as many seqs as there are entries. The row stays locked until the
commit, so seqs are given and become visible in one order, on every node (SPEC §1). What turns out to be a repeat gives
its seq back before the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, case, func, insert, select, update

from sse_adapters.sql.audience import EVERYTHING, LIMIT, found, nearest, reach, reach_of
from sse_adapters.sql.connections import Connections
from sse_adapters.sql.lookup import messages_by_event_id, messages_by_seq, seq_before
from sse_adapters.sql.rows import MESSAGE_COLUMNS, from_message, to_message
from sse_adapters.sql.schema import UtcDateTime, log, message
from sse_domain.cursor import Positions
from sse_domain.message import Message, Priority, Receiver, accept, same_content
from sse_domain.ports import Appended, Entry, MessageLog, Outcome
from sse_domain.replay import LogHead, ReadRequest, ReplayPage, page_length
from sse_domain.subscription import Audience

_NOW = bindparam("now", type_=UtcDateTime)
_TAKE_SEQS = update(log).values(
    last_seq=log.c.last_seq + bindparam("taken"),
    latest_created_at=case((log.c.latest_created_at > _NOW, log.c.latest_created_at), else_=_NOW),
)
_READ = select(*MESSAGE_COLUMNS).where(message.c.id > bindparam("after")).order_by(message.c.id).limit(LIMIT)
_REPLAY = nearest(found.c.id, found.c.data_bytes, read=False).order_by(found.c.priority.desc(), found.c.id).limit(LIMIT)
_FIRST_OWED = nearest(found.c.priority, func.min(found.c.id), read=None).group_by(found.c.priority)


class SqlMessageLog(MessageLog):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def head(self) -> LogHead:
        async with self._connections.reading() as connection:
            row = (await connection.execute(select(log))).one()
        return LogHead(epoch=row.epoch, seq=row.last_seq, purged_through=row.purged_through)

    async def append(self, entries: Sequence[Entry], now: datetime) -> list[Appended]:
        if not entries:
            return []
        async with self._connections.writing() as connection:
            await connection.execute(_TAKE_SEQS, {"taken": len(entries), "now": now})
            extent = (await connection.execute(select(log))).one()
            known = await messages_by_event_id(connection, [e.event_id for e in entries if e.may_repeat])
            appended = _settle(entries, known, extent.last_seq - len(entries), now)
            new = [from_message(message) for outcome, message in appended if outcome is Outcome.NEW]
            if new:
                await connection.execute(insert(message), new)
            setback = (extent.latest_created_at - now) // timedelta(microseconds=1)
            if len(new) < len(entries) or setback > extent.clock_setback:
                await connection.execute(
                    update(log).values(
                        last_seq=extent.last_seq - len(entries) + len(new),
                        clock_setback=max(setback, extent.clock_setback),
                    )
                )
        return appended

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


def _settle(entries: Sequence[Entry], known: dict[str, Message], last_seq: int, now: datetime) -> list[Appended]:
    """What becomes of each entry of a batch that follows `last_seq`, where the `known` event_ids are in the log."""
    appended: list[Appended] = []
    for entry in entries:
        draft, event_id = entry.draft, entry.event_id
        earlier = known.get(event_id)
        if earlier is not None:
            same = same_content(draft, earlier)
            appended.append(Appended(Outcome.REPEATED if same else Outcome.CONFLICT, earlier))
            continue
        last_seq += 1
        known[event_id] = accept(draft, event_id=event_id, seq=last_seq, now=now)
        appended.append(Appended(Outcome.NEW, known[event_id]))
    return appended
