"""Finding messages, inside a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.column_types import UtcDateTime
from sse_adapters.sql.lists import in_list, listed
from sse_adapters.sql.rows import MESSAGE_COLUMNS, to_message
from sse_adapters.sql.schema import log, message
from sse_domain.message import Message

_BY_SEQ = select(*MESSAGE_COLUMNS).where(in_list(message.c.id, "seqs"))
_BY_EVENT_ID = select(*MESSAGE_COLUMNS).where(in_list(message.c.event_id, "event_ids"))

_SINCE = bindparam("since", type_=UtcDateTime)
_UNTIL = bindparam("until", type_=UtcDateTime)
_EARLIEST_SINCE = (
    select(message.c.created_at).where(message.c.created_at >= _SINCE).order_by(message.c.created_at).limit(1)
)
# Of a mere column PostgreSQL may look for the least along its own index: through the log, up to the first that fits.
_LOWEST_BETWEEN = select(func.min(message.c.id + 0)).where(message.c.created_at.between(_SINCE, _UNTIL))


async def messages_by_seq(connection: AsyncConnection, seqs: Sequence[int]) -> list[Message]:
    """These kept messages, in the order asked."""
    if not seqs:
        return []
    rows = await connection.execute(_BY_SEQ, {"seqs": listed(seqs)})
    messages = {message.seq: message for message in map(to_message, rows)}
    return [messages[seq] for seq in seqs]


async def messages_by_event_id(connection: AsyncConnection, event_ids: Sequence[str]) -> dict[str, Message]:
    """The kept messages with these event_ids."""
    if not event_ids:
        return {}
    rows = await connection.execute(_BY_EVENT_ID, {"event_ids": listed(event_ids)})
    return {message.event_id: message for message in map(to_message, rows)}


async def seq_before(connection: AsyncConnection, since: datetime) -> int:
    """The greatest seq below every message created at or after `since`; the head's seq when there is none such.

    Times don't rise with seq when a clock is set back, but then by `clock_setback` at most. So a message that comes
    before the earliest one of the period, and yet belongs to it, was created that much later at most: of a long period
    only so much of its beginning is looked through.
    """
    extent = (await connection.execute(select(log.c.last_seq, log.c.clock_setback))).one()
    earliest = (await connection.execute(_EARLIEST_SINCE, {"since": since})).scalar()
    if earliest is None:
        return int(extent.last_seq)
    until = earliest + timedelta(microseconds=extent.clock_setback)
    lowest = (await connection.execute(_LOWEST_BETWEEN, {"since": since, "until": until})).scalar_one()
    return int(lowest) - 1
