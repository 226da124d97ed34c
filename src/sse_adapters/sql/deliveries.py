"""What readers were given, inside a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Update, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.databases import PerDatabase
from sse_adapters.sql.lists import in_list, listed
from sse_adapters.sql.rows import from_delivered, to_delivered
from sse_adapters.sql.schema import delivered, message
from sse_domain.inbox import Delivered, Status
from sse_domain.message import Priority, Receiver

_OF_READERS = select(delivered).where(
    delivered.c.reader_type == bindparam("reader_type"), in_list(delivered.c.reader_id, "reader_ids")
)


def _raise_status_of(priority: Priority) -> Update:
    """Raises the status of what was given since the record before this one: what that one covers has it already."""
    position = priority.name.lower()
    recorded = (
        select(delivered.c[position])
        .where(delivered.c.reader_type == bindparam("reader_type"), delivered.c.reader_id == bindparam("reader_id"))
        .scalar_subquery()
    )
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
_RISE = PerDatabase(lambda database: database.insert_or_raise(delivered, "normal", "high", "urgent", "seen_at"))


async def delivered_to(connection: AsyncConnection, readers: Collection[Receiver]) -> dict[Receiver, Delivered]:
    """What these readers were given as last recorded; who was never seen is absent."""
    records: dict[Receiver, Delivered] = {}
    for kind in {reader.type: None for reader in readers}:
        ids = [reader.id for reader in readers if reader.type is kind]
        rows = await connection.execute(_OF_READERS, {"reader_type": kind.value, "reader_ids": listed(ids)})
        records.update(map(to_delivered, rows))
    return records


async def record(connection: AsyncConnection, records: Mapping[Receiver, Delivered]) -> None:
    """Merge these records with those that are there."""
    rows = [from_delivered(reader, given) for reader, given in records.items()]
    for raise_status in _RAISE_STATUS:
        await connection.execute(raise_status, rows)
    await connection.execute(_RISE.on(connection), rows)


async def bring_back(connection: AsyncConnection, seq: int) -> None:
    """Bring every record that lies beyond `seq` back to it."""
    for priority in Priority:
        position = delivered.c[priority.name.lower()]
        await connection.execute(update(delivered).where(position > seq).values({position: seq}))
