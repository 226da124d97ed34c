"""What users have been given and have read, on a SQL database.

The row status of a message only informs whoever looks at the table; nothing here goes by it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import islice

from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.audience import EVERYTHING, first_of_each_priority, inbox_audience, nearest, reach
from sse_adapters.sql.connections import Connections, tried_again
from sse_adapters.sql.deliveries import delivered_to, record
from sse_adapters.sql.lookup import messages_by_seq, seq_before
from sse_adapters.sql.marks import lock_marks, mark_some_up_to, mark_these, read_floor_of, read_of_these
from sse_adapters.sql.spans import Order
from sse_adapters.sql.subscriptions import subscriptions_of
from sse_adapters.sql.unread import unread_counts
from sse_domain.cursor import START, Positions
from sse_domain.inbox import (
    MAX_PAGE_BYTES,
    Delivered,
    InboxEntry,
    InboxQuery,
    ReadSelection,
    StatusFilter,
    TheseSeqs,
    UnreadCounts,
    status_of,
)
from sse_domain.message import Priority, Receiver
from sse_domain.ports import Inbox
from sse_domain.replay import page_length
from sse_domain.subscription import Audience

# What a transaction takes on at most, where nothing asks for one: sends wait for it.
RECORDS_AT_ONCE = 500
MARKS_AT_ONCE = 2000


class SqlInbox(Inbox):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @tried_again
    async def messages(self, query: InboxQuery, delivered: Positions, now: datetime) -> list[InboxEntry]:
        read = None if query.status is None else query.status is StatusFilter.READ
        after, through = _range(query, delivered)
        async with self._connections.reading() as connection:
            if read is False:
                after = after.furthest(await read_floor_of(connection, query.user_id))
            if query.since is not None:
                after = after.furthest(Positions.level(await seq_before(connection, query.since)))
            lanes = [after[p] if query.priority in (None, p) else None for p in Priority]
            audience = await _audience_of(connection, query.user_id, query.event_type)
            within = reach(audience, lanes, through, now, query.group)
            order = Order.FALLING if query.descending else Order.RISING
            listing = await nearest(connection, within, query.limit, read=read, order=order, since=query.since)
            length = page_length((found.data_bytes for found in listing), query.limit, MAX_PAGE_BYTES)
            seqs = [found.seq for found in listing[:length]]
            messages = await messages_by_seq(connection, seqs)
            marked = set(seqs) if read else set()
            if read is None:
                marked = await read_of_these(connection, query.user_id, seqs)
        return [
            InboxEntry(message=each, status=status_of(each, read=each.seq in marked, delivered=delivered))
            for each in messages
        ]

    @tried_again
    async def unread(self, user_ids: Sequence[str], now: datetime) -> dict[str, UnreadCounts]:
        async with self._connections.reading() as connection:
            return await unread_counts(connection, user_ids, now)

    @tried_again
    async def oldest_unread(self, user_id: str, now: datetime) -> tuple[int | None, ...]:
        async with self._connections.reading() as connection:
            floor = await read_floor_of(connection, user_id)
            within = reach(await _audience_of(connection, user_id), floor, EVERYTHING, now)
            return await first_of_each_priority(connection, within, read=False)

    async def mark_read(self, user_id: str, selection: ReadSelection, now: datetime) -> int:
        if isinstance(selection, TheseSeqs):
            return await self._mark_these(user_id, selection.seqs, now)
        total, after = 0, START
        while True:
            marked = await self._mark_some(user_id, after, selection.positions, now)
            total += len(marked)
            if len(marked) < MARKS_AT_ONCE:
                return total
            after = Positions.level(marked[-1])

    @tried_again
    async def _mark_these(self, user_id: str, seqs: Sequence[int], now: datetime) -> int:
        async with self._connections.writing() as connection:
            await lock_marks(connection, user_id)
            return await mark_these(connection, await _audience_of(connection, user_id), seqs, now)

    @tried_again
    async def _mark_some(self, user_id: str, after: Positions, through: Positions, now: datetime) -> list[int]:
        async with self._connections.writing() as connection:
            await lock_marks(connection, user_id)
            audience = await _audience_of(connection, user_id)
            return await mark_some_up_to(connection, audience, after, through, now, MARKS_AT_ONCE)

    @tried_again
    async def delivered(self, readers: Collection[Receiver]) -> dict[Receiver, Delivered]:
        async with self._connections.reading() as connection:
            return await delivered_to(connection, readers)

    async def record_delivered(self, records: Mapping[Receiver, Delivered]) -> None:
        rest = iter(records.items())
        while some := dict(islice(rest, RECORDS_AT_ONCE)):
            await self._record(some)

    @tried_again
    async def _record(self, records: Mapping[Receiver, Delivered]) -> None:
        async with self._connections.writing() as connection:
            await record(connection, records)


async def _audience_of(connection: AsyncConnection, user_id: str, event_type: str | None = None) -> Audience:
    standing = (await subscriptions_of(connection, [user_id]))[user_id]
    return inbox_audience(user_id, standing, event_type)


def _range(query: InboxQuery, delivered: Positions) -> tuple[Positions, Positions]:
    """After and through which positions the entries lie that the query admits."""
    after, through = START, EVERYTHING
    if query.after is not None and query.descending:
        through = Positions.level(max(query.after) - 1)
    elif query.after is not None:
        after = query.after
    if query.status is StatusFilter.PENDING:
        after = after.furthest(delivered)
    elif query.status is StatusFilter.SENT:
        through = through.nearest(delivered)
    return after, through
