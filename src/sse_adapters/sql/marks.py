"""Read marks, inside a transaction of the caller's.

Counting what is unread must not cost what was ever read. So each user has a floor: up to there nothing is unread of
what the user could see, expired or not. It rises with every marking, and is taken away when the user's view of the past
widens. Only the marks decide, so having no floor is never wrong.

Whatever is newly marked gives the user's marking another number, in the same transaction. Numbers are random: so none
comes back when a row was removed or a backup restored.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.audience import BEFORE_ALL_TIME, is_read, nearest, reach
from sse_adapters.sql.column_types import Identifier
from sse_adapters.sql.databases import PerDatabase
from sse_adapters.sql.lists import in_list, listed
from sse_adapters.sql.rows import HEADER_COLUMNS, to_message
from sse_adapters.sql.schema import log, marking, message, read_floor, read_mark
from sse_adapters.sql.spans import Order, PerSpan, Span
from sse_domain.cursor import Positions
from sse_domain.inbox import Status
from sse_domain.message import ReceiverType
from sse_domain.subscription import Audience

# How many seqs are looked through for the first unread one, at first, and how many times more at each further try.
FLOOR_STEP = 1024
FLOOR_GROWTH = 8
# Below it are the integers that JSON carries exactly everywhere.
_MARKINGS = 2**53

_READ_OF_THESE = select(read_mark.c.seq).where(
    read_mark.c.user_id == bindparam("user_id"), in_list(read_mark.c.seq, "seqs")
)
_UNREAD_OF_THESE = select(*HEADER_COLUMNS).where(
    in_list(message.c.id, "seqs"), ~is_read(bindparam("user_id", type_=Identifier(128)))
)
_RAISE_STATUS = (
    update(message)
    .where(in_list(message.c.id, "seqs"), message.c.status < Status.READ.value)
    .values(status=Status.READ.value)
)
_RISE = PerDatabase(lambda database: database.insert_or_raise(read_floor, "seq"))
_FLOORS = select(read_floor.c.user_id, read_floor.c.seq).where(in_list(read_floor.c.user_id, "user_ids"))
_EXTENT = select(log.c.last_seq, read_floor.c.seq).join_from(
    log, read_floor, read_floor.c.user_id == bindparam("user_id")
)
_MARK_AGAIN = (
    update(marking)
    .where(marking.c.user_id == bindparam("user"))
    .values(marking=bindparam("number"), marked_at=bindparam("now"))
)
_MARKED = PerSpan(
    lambda span: (
        select(span.number)
        .where(read_mark.c.user_id == span.reader, read_mark.c.seq > span.after)
        .limit(literal_column("1"))
    )
)


async def read_of_these(connection: AsyncConnection, user_id: str, seqs: Sequence[int]) -> set[int]:
    """Which of these messages the user has marked as read."""
    rows = await connection.execute(_READ_OF_THESE, {"user_id": user_id, "seqs": listed(seqs)})
    return set(rows.scalars())


async def mark_these(connection: AsyncConnection, audience: Audience, seqs: Sequence[int], now: datetime) -> int:
    """Mark those of these messages that are visible; how many were not marked before."""
    rows = await connection.execute(_UNREAD_OF_THESE, {"user_id": audience.user_id, "seqs": listed(seqs)})
    selected = [unread for unread in map(to_message, rows) if not unread.expired(now) and audience.admits(unread)]
    await _mark(connection, audience, [(unread.seq, unread.receiver.type) for unread in selected], now)
    return len(selected)


async def mark_some_up_to(
    connection: AsyncConnection, audience: Audience, after: Positions, through: Positions, now: datetime, limit: int
) -> list[int]:
    """Mark the first `limit` of the messages in this range that are visible and not read; their seqs, rising."""
    after = after.furthest(await read_floor_of(connection, audience.user_id or ""))
    selected = await nearest(connection, reach(audience, after, through, now), limit, read=False, order=Order.RISING)
    await _mark(connection, audience, [(found.seq, found.receiver_type) for found in selected], now)
    return [found.seq for found in selected]


async def _mark(
    connection: AsyncConnection, audience: Audience, unread: Sequence[Sequence[Any]], now: datetime
) -> None:
    """Mark these (seq, receiver type) as read. Row status tells only about messages to the user alone."""
    if not unread:
        return
    await connection.execute(insert(read_mark), [{"user_id": audience.user_id, "seq": seq} for seq, _ in unread])
    own = [seq for seq, kind in unread if kind == ReceiverType.USER]
    if own:
        await connection.execute(_RAISE_STATUS, {"seqs": listed(own)})
    await _raise_read_floor(connection, audience)
    await _change_marking(connection, audience.user_id, now)


async def read_floors_of(connection: AsyncConnection, user_ids: Sequence[str]) -> dict[str, int]:
    """The users' floors; who has none is absent."""
    rows = await connection.execute(_FLOORS, {"user_ids": listed(user_ids)})
    return {row.user_id: row.seq for row in rows}


async def read_floor_of(connection: AsyncConnection, user_id: str) -> Positions:
    """The user's floor, as what every priority need only be read beyond."""
    floors = await read_floors_of(connection, [user_id])
    return Positions.level(floors.get(user_id, 0))


async def with_marks_beyond(connection: AsyncConnection, seqs: Mapping[str, int]) -> set[str]:
    """Which of these users have marked anything as read beyond their seq."""
    users = list(seqs)
    spans = [Span("", "", 0, seq, 0, "", user_id) for user_id, seq in seqs.items()]
    return {users[number] for (number,) in await _MARKED.ask(connection, spans, {})}


async def _raise_read_floor(connection: AsyncConnection, audience: Audience) -> None:
    """Let the user's floor rise as far as it may.

    It is looked for step by step, so one message that stays unread does not make each marking look through everything
    that was read after it.
    """
    last_seq, before = (await connection.execute(_EXTENT, {"user_id": audience.user_id})).one()
    floor, step = before, FLOOR_STEP
    while floor < last_seq:
        through = min(floor + step, last_seq)
        step_up = reach(audience, Positions.level(floor), Positions.level(through), BEFORE_ALL_TIME)
        if first_unread := await nearest(connection, step_up, 1, read=False, order=Order.RISING):
            floor = first_unread[0].seq - 1
            break
        floor, step = through, step * FLOOR_GROWTH
    if floor > before:
        await _rise(connection, audience.user_id, floor)


async def lock_marks(connection: AsyncConnection, user_id: str) -> None:
    """Until the transaction ends no other one changes this user's marks, or what the user sees of the past.

    Whatever is read to change them must be read after this.
    """
    await _rise(connection, user_id, 0)


async def _rise(connection: AsyncConnection, user_id: str | None, floor: int) -> None:
    await connection.execute(_RISE.on(connection), {"user_id": user_id, "seq": floor})


async def _change_marking(connection: AsyncConnection, user_id: str | None, now: datetime) -> None:
    """Let the user's marking be another one, made now. Nobody else makes one for this user until the transaction ends:
    marks are locked."""
    number = 1 + secrets.randbelow(_MARKINGS - 1)
    changed = await connection.execute(_MARK_AGAIN, {"user": user_id, "number": number, "now": now})
    if not changed.rowcount:
        await connection.execute(insert(marking), {"user_id": user_id, "marking": number, "marked_at": now})
