"""What the janitor removes from a SQL database. What is to go is found first and removed by key, in bounded number.

A message that went to everybody may have as many read marks as there are users. So these go in transactions of their
own, after their messages: without its message a mark means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, case, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.connections import Connections, tried_again
from sse_adapters.sql.databases import PerDatabase
from sse_adapters.sql.lists import in_list, listed
from sse_adapters.sql.schema import delivered, log, marking, message, read_floor, read_mark
from sse_adapters.sql.spans import LIMIT
from sse_domain.ports import Retention

MARKS_AT_ONCE = 2000
# So few that, whatever a database supposes, it looks each of them up rather than read through all marks.
MARKED_AT_ONCE = 16

# Marks that a removal which was broken off has left, or that were made while their messages were being removed.
_LEFT_OVER = (
    select(read_mark.c.user_id, read_mark.c.seq)
    .where(read_mark.c.seq < select(func.min(message.c.id)).scalar_subquery())
    .order_by(read_mark.c.seq)
    .limit(MARKS_AT_ONCE)
)
_UNMARK = delete(read_mark).where(read_mark.c.user_id == bindparam("user_id"), read_mark.c.seq == bindparam("seq"))
_SOME_MARKS = PerDatabase(lambda database: database.delete_some(read_mark, in_list(read_mark.c.seq, "seqs"), LIMIT))
_COUNT_REMOVAL = update(log).values(removals=log.c.removals + 1)
_REMOVE = delete(message).where(in_list(message.c.id, "seqs"))
_REMOVE_FLOORS = delete(read_floor).where(in_list(read_floor.c.user_id, "users"))
_FORGET = delete(delivered).where(
    delivered.c.reader_type == bindparam("reader_type"), delivered.c.reader_id == bindparam("reader_id")
)

# Whether one is old is asked again, for it may just have been made anew.
_FORGET_MARKINGS = delete(marking).where(
    in_list(marking.c.user_id, "users"), marking.c.marked_at < bindparam("unmarked_since")
)


class SqlRetention(Retention):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def remove_expired(self, now: datetime, limit: int) -> int:
        seqs = await self._remove_expired(now, limit)
        await self._remove_marks(seqs)
        return len(seqs)

    async def remove_older(self, than: datetime, limit: int) -> int:
        seqs = await self._remove_older(than, limit)
        await self._remove_marks(seqs)
        await self._remove_left_over()
        return len(seqs)

    @tried_again
    async def _remove_expired(self, now: datetime, limit: int) -> Sequence[int]:
        expired = (
            select(message.c.id)
            .where(message.c.expire_at <= now)
            .order_by(message.c.expire_at, message.c.id)
            .limit(limit)
        )
        async with self._connections.writing() as connection:
            seqs = (await connection.execute(expired)).scalars().all()
            if seqs:
                await connection.execute(_REMOVE, {"seqs": listed(seqs)})
        return seqs

    @tried_again
    async def _remove_older(self, than: datetime, limit: int) -> Sequence[int]:
        older = (
            select(message.c.id)
            .where(message.c.created_at < than)
            .order_by(message.c.created_at, message.c.id)
            .limit(limit)
        )
        async with self._connections.writing() as connection:
            seqs = (await connection.execute(older)).scalars().all()
            if seqs:
                await connection.execute(_REMOVE, {"seqs": listed(seqs)})
                purged = max(seqs)
                further = case((log.c.purged_through < purged, purged), else_=log.c.purged_through)
                await connection.execute(_COUNT_REMOVAL.values(purged_through=further))
                await _remove_floors(connection, purged, limit)
        return seqs

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

    @tried_again
    async def forget_markings(self, unmarked_since: datetime, limit: int) -> int:
        oldest = (
            select(marking.c.user_id)
            .where(marking.c.marked_at < unmarked_since)
            .order_by(marking.c.marked_at)
            .limit(limit)
        )
        async with self._connections.writing() as connection:
            users = (await connection.execute(oldest)).scalars().all()
            if not users:
                return 0
            # The log's row is locked first, as by whoever removes floors. Else this could wait for a join, which waits
            # for a reader's floor, which waits for a marking.
            await connection.execute(_COUNT_REMOVAL)
            old_ones = {"users": listed(users), "unmarked_since": unmarked_since}
            return (await connection.execute(_FORGET_MARKINGS, old_ones)).rowcount

    async def _remove_marks(self, seqs: Sequence[int]) -> None:
        """Between any two of its transactions sends get their turn."""
        for first in range(0, len(seqs), MARKED_AT_ONCE):
            while await self._remove_some_marks(seqs[first : first + MARKED_AT_ONCE]) == MARKS_AT_ONCE:
                pass

    @tried_again
    async def _remove_some_marks(self, seqs: Sequence[int]) -> int:
        async with self._connections.writing() as connection:
            return (
                await connection.execute(_SOME_MARKS.on(connection), {"seqs": listed(seqs), "limit": MARKS_AT_ONCE})
            ).rowcount

    @tried_again
    async def _remove_left_over(self) -> None:
        async with self._connections.writing() as connection:
            if marks := (await connection.execute(_LEFT_OVER)).all():
                await connection.execute(_UNMARK, [dict(row._mapping) for row in marks])


async def _remove_floors(connection: AsyncConnection, purged: int, limit: int) -> None:
    """Remove up to `limit` floors that say nothing any more: there is nothing left below them."""
    sunken = select(read_floor.c.user_id).where(read_floor.c.seq <= purged).limit(limit)
    users = (await connection.execute(sunken)).scalars().all()
    if users:
        await connection.execute(_REMOVE_FLOORS, {"users": listed(users)})
