"""What readers were given, inside a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Update, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.databases import database_of
from sse_adapters.sql.rows import from_delivered, to_delivered
from sse_adapters.sql.schema import delivered, message
from sse_domain.inbox import Status
from sse_domain.message import Priority, Receiver
from sse_domain.ports import Delivered

_OF_READER = select(delivered).where(
    delivered.c.reader_type == bindparam("reader_type"), delivered.c.reader_id == bindparam("reader_id")
)


def _raise_status_of(priority: Priority) -> Update:
    """Raises the status of what was given since the record before this one: what that one covers has it already."""
    position = priority.name.lower()
    recorded = _OF_READER.with_only_columns(delivered.c[position]).scalar_subquery()
    return (
        update(message)
        .where(
            message.c.receiver_type == bindparam("reader_type"),
            message.c.receiver_id == bindparam("reader_id"),
            message.c.priority == priority.value,
            message.c.id > func.coalesce(recorded, 0),
            message.c.id <= bindparam(position),
            message.c.status < Status.SENT.value,
        )
        .values(status=Status.SENT.value)
    )


_RAISE_STATUS = tuple(map(_raise_status_of, Priority))


async def delivered_to(connection: AsyncConnection, reader: Receiver) -> Delivered | None:
    """What this reader was given as last recorded, or None."""
    rows = await connection.execute(_OF_READER, {"reader_type": reader.type.value, "reader_id": reader.id})
    row = rows.mappings().one_or_none()
    return None if row is None else to_delivered(row)


async def record(connection: AsyncConnection, records: Mapping[Receiver, Delivered]) -> None:
    """Merge these records with those that are there."""
    rows = [from_delivered(reader, given) for reader, given in records.items()]
    for raise_status in _RAISE_STATUS:
        await connection.execute(raise_status, rows)
    rise = database_of(connection).insert_or_raise(delivered, "normal", "high", "urgent", "seen_at")
    await connection.execute(rise, rows)


async def bring_back(connection: AsyncConnection, seq: int) -> None:
    """Bring every record that lies beyond `seq` back to it."""
    for priority in Priority:
        position = delivered.c[priority.name.lower()]
        await connection.execute(update(delivered).where(position > seq).values({position: seq}))
