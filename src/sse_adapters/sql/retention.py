"""What the janitor removes from a SQL database. What is to go is found first and removed by key, in bounded number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.connections import Connections, tried_again
from sse_adapters.sql.lists import in_list, listed
from sse_adapters.sql.schema import delivered, log, message, read_floor, read_mark
from sse_domain.ports import Retention

_FORGET = delete(delivered).where(
    delivered.c.reader_type == bindparam("reader_type"), delivered.c.reader_id == bindparam("reader_id")
)


class SqlRetention(Retention):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @tried_again
    async def remove_expired(self, now: datetime, limit: int) -> int:
        expired = (
            select(message.c.id)
            .where(message.c.expire_at <= now)
            .order_by(message.c.expire_at, message.c.id)
            .limit(limit)
        )
        async with self._connections.writing() as connection:
            seqs = (await connection.execute(expired)).scalars().all()
            await _remove(connection, seqs)
        return len(seqs)

    @tried_again
    async def remove_older(self, than: datetime, limit: int) -> int:
        older = (
            select(message.c.id)
            .where(message.c.created_at < than)
            .order_by(message.c.created_at, message.c.id)
            .limit(limit)
        )
        async with self._connections.writing() as connection:
            seqs = (await connection.execute(older)).scalars().all()
            if not seqs:
                return 0
            await _remove(connection, seqs)
            purged = max(seqs)
            await connection.execute(update(log).where(log.c.purged_through < purged).values(purged_through=purged))
            await _remove_floors(connection, purged, limit)
        return len(seqs)

    @tried_again
    async def forget_readers(self, unseen_since: datetime, limit: int) -> int:
        unseen = (
            select(delivered.c.reader_type, delivered.c.reader_id)
            .where(delivered.c.seen_at < unseen_since)
            .order_by(delivered.c.seen_at)
            .limit(limit)
        )
        async with self._connections.writing() as connection:
            readers = (await connection.execute(unseen)).all()
            if readers:
                await connection.execute(_FORGET, [dict(row._mapping) for row in readers])
        return len(readers)


async def _remove(connection: AsyncConnection, seqs: Sequence[int]) -> None:
    """Remove these messages with their read marks."""
    if seqs:
        parameters = {"seqs": listed(seqs)}
        await connection.execute(delete(message).where(in_list(message.c.id, "seqs")), parameters)
        await connection.execute(delete(read_mark).where(in_list(read_mark.c.seq, "seqs")), parameters)


async def _remove_floors(connection: AsyncConnection, purged: int, limit: int) -> None:
    """Remove up to `limit` floors that say nothing any more: there is nothing left below them."""
    sunken = select(read_floor.c.user_id).where(read_floor.c.seq <= purged).limit(limit)
    users = (await connection.execute(sunken)).scalars().all()
    if users:
        floors = delete(read_floor).where(in_list(read_floor.c.user_id, "users"))
        await connection.execute(floors, {"users": listed(users)})
