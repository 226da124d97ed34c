"""Read marks, inside a transaction of the caller's.

Counting what is unread must not cost what was ever read. So each user has a floor: up to there nothing is unread of
what the user could see, expired or not. It rises with every marking, and is taken away when the user's view of the past
widens. Only the marks decide, so having no floor is never wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.audience import BEFORE_ALL_TIME, IS_READ, nearest, reach
from sse_adapters.sql.databases import database_of
from sse_adapters.sql.lists import in_list, listed
from sse_adapters.sql.rows import HEADER_COLUMNS, to_message
from sse_adapters.sql.schema import log, message, read_floor, read_mark
from sse_adapters.sql.spans import Order
from sse_domain.cursor import Positions
from sse_domain.inbox import Status
from sse_domain.message import ReceiverType
from sse_domain.subscription import Audience

# How many seqs are looked through for the first unread one, at first, and how many times more at each further try.
FLOOR_STEP = 1024
FLOOR_GROWTH = 8

_READ_OF_THESE = select(read_mark.c.seq).where(
    read_mark.c.user_id == bindparam("user_id"), in_list(read_mark.c.seq, "seqs")
)
_UNREAD_OF_THESE = select(*HEADER_COLUMNS).where(in_list(message.c.id, "seqs"), ~IS_READ)
_RAISE_STATUS = (
    update(message)
    .where(in_list(message.c.id, "seqs"), message.c.status < Status.READ.value)
    .values(status=Status.READ.value)
)
_FLOOR = select(read_floor.c.seq).where(read_floor.c.user_id == bindparam("user_id"))


async def read_of_these(connection: AsyncConnection, user_id: str, seqs: Sequence[int]) -> set[int]:
    """Which of these messages the user has marked as read."""
    rows = await connection.execute(_READ_OF_THESE, {"user_id": user_id, "seqs": listed(seqs)})
    return set(rows.scalars())


async def mark_these(connection: AsyncConnection, audience: Audience, seqs: Sequence[int], now: datetime) -> int:
    """Mark those of these messages that are visible; how many were not marked before."""
    rows = await connection.execute(_UNREAD_OF_THESE, {"user_id": audience.user_id, "seqs": listed(seqs)})
    selected = [unread for unread in map(to_message, rows) if not unread.expired(now) and audience.admits(unread)]
    await _mark(connection, audience, [(unread.seq, unread.receiver.type) for unread in selected])
    return len(selected)


async def mark_some_up_to(
    connection: AsyncConnection, audience: Audience, after: Positions, through: Positions, now: datetime, limit: int
) -> list[int]:
    """Mark the first `limit` of the messages in this range that are visible and not read; their seqs, rising."""
    after = after.furthest(await read_floor_of(connection, audience.user_id))
    selected = await nearest(connection, reach(audience, after, through, now), limit, read=False, order=Order.RISING)
    await _mark(connection, audience, [(found.seq, found.receiver_type) for found in selected])
    return [found.seq for found in selected]


async def _mark(connection: AsyncConnection, audience: Audience, unread: Sequence[Sequence[Any]]) -> None:
    """Mark these (seq, receiver type) as read. Row status tells only about messages to the user alone."""
    if not unread:
        return
    await connection.execute(insert(read_mark), [{"user_id": audience.user_id, "seq": seq} for seq, _ in unread])
    own = [seq for seq, kind in unread if kind == ReceiverType.USER]
    if own:
        await connection.execute(_RAISE_STATUS, {"seqs": listed(own)})
    await _raise_read_floor(connection, audience)


async def read_floor_of(connection: AsyncConnection, user_id: str | None) -> Positions:
    """The user's floor, as what every priority need only be read beyond."""
    floor = (await connection.execute(_FLOOR, {"user_id": user_id})).scalar()
    return Positions.level(floor or 0)


async def _raise_read_floor(connection: AsyncConnection, audience: Audience) -> None:
    """Let the user's floor rise as far as it may.

    It is looked for step by step, so one message that stays unread does not make each marking look through everything
    that was read after it.
    """
    last_seq = (await connection.execute(select(log.c.last_seq))).scalar_one()
    before = floor = (await read_floor_of(connection, audience.user_id)).normal
    step = FLOOR_STEP
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
    rise = database_of(connection).insert_or_raise(read_floor, "seq")
    await connection.execute(rise, {"user_id": user_id, "seq": floor})
