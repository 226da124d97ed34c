"""Read marks, inside a transaction of the caller's.

Counting what is unread must not cost what was ever read. So each user has a floor: up to there nothing is unread of
what the user could see, expired or not. It rises with every marking, and is taken away when the user's view of the past
widens. Only the marks decide, so having no floor is never wrong.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.audience import BEFORE_ALL_TIME, IS_READ, NOT_EXPIRED, every, found, nearest, reach
from sse_adapters.sql.dialect import ROWS_CHANGED, in_json_list, insert_or_raise
from sse_adapters.sql.rows import HEADER_COLUMNS, to_message
from sse_adapters.sql.schema import log, message, read_floor, read_mark
from sse_domain.cursor import Positions
from sse_domain.inbox import Status, visible
from sse_domain.message import Priority, ReceiverType
from sse_domain.subscription import Audience

# How many seqs are looked through for the first unread one, at first, and how many times more at each further try.
FLOOR_STEP = 1024
FLOOR_GROWTH = 8

_READ_OF_THESE = select(read_mark.c.seq).where(
    read_mark.c.user_id == bindparam("user_id"), in_json_list(read_mark.c.seq, "seqs")
)
_UNREAD_OF_THESE = select(*HEADER_COLUMNS).where(in_json_list(message.c.id, "seqs"), ~IS_READ)
_MARK_UNREAD = insert(read_mark).from_select(["user_id", "seq"], every(bindparam("user_id"), message.c.id, read=False))
_RAISE_STATUS = (
    update(message)
    .where(message.c.receiver_type == ReceiverType.USER.value, message.c.status < Status.READ.value)
    .values(status=Status.READ.value)
)
_RAISE_STATUS_OF_THESE = _RAISE_STATUS.where(in_json_list(message.c.id, "seqs"))
_RAISE_STATUS_UP_TO = _RAISE_STATUS.where(
    message.c.receiver_id == bindparam("user_id"),
    message.c.priority == bindparam("of_priority"),
    message.c.id > bindparam("after"),
    message.c.id <= bindparam("through"),
    NOT_EXPIRED,
)
_FLOOR = select(read_floor.c.seq).where(read_floor.c.user_id == bindparam("user_id"))
_RAISE_FLOOR = insert_or_raise(read_floor, "seq")
_FIRST_UNREAD = nearest(func.min(found.c.id), read=False)


async def read_of_these(connection: AsyncConnection, user_id: str, seqs: Sequence[int]) -> set[int]:
    """Which of these messages the user has marked as read."""
    rows = await connection.execute(_READ_OF_THESE, {"user_id": user_id, "seqs": json.dumps(seqs)})
    return set(rows.scalars())


async def mark_these(
    connection: AsyncConnection, audience: Audience, user_id: str, seqs: Sequence[int], now: datetime
) -> int:
    """Mark those of these messages that are visible; how many were not marked before."""
    rows = await connection.execute(_UNREAD_OF_THESE, {"user_id": user_id, "seqs": json.dumps(seqs)})
    marked = [unread.seq for unread in map(to_message, rows) if visible(unread, user_id, audience.subscriptions, now)]
    if marked:
        await connection.execute(insert(read_mark), [{"user_id": user_id, "seq": seq} for seq in marked])
        await connection.execute(_RAISE_STATUS_OF_THESE, {"seqs": json.dumps(marked)})
    return len(marked)


async def mark_up_to(
    connection: AsyncConnection, audience: Audience, user_id: str, positions: Positions, now: datetime
) -> int:
    """Mark what is visible at or below the position of its priority; how many were not marked before."""
    floor = await read_floor_of(connection, user_id)
    await connection.execute(_MARK_UNREAD, reach(audience, floor, positions, now))
    marked = (await connection.execute(ROWS_CHANGED)).scalar_one()
    await connection.execute(
        _RAISE_STATUS_UP_TO,
        [
            {"user_id": user_id, "of_priority": p, "after": floor[p], "through": positions[p], "now": now}
            for p in Priority
        ],
    )
    return int(marked)


async def read_floor_of(connection: AsyncConnection, user_id: str) -> Positions:
    """The user's floor, as what every priority need only be read beyond."""
    floor = (await connection.execute(_FLOOR, {"user_id": user_id})).scalar()
    return Positions.level(floor or 0)


async def raise_read_floor(connection: AsyncConnection, audience: Audience, user_id: str) -> None:
    """Let the user's floor rise as far as it may.

    It is looked for step by step, so one message that stays unread does not make each marking look through everything
    that was read after it.
    """
    last_seq = (await connection.execute(select(log.c.last_seq))).scalar_one()
    before = floor = (await read_floor_of(connection, user_id)).normal
    step = FLOOR_STEP
    while floor < last_seq:
        through = min(floor + step, last_seq)
        parameters = reach(audience, Positions.level(floor), Positions.level(through), BEFORE_ALL_TIME)
        first_unread = (await connection.execute(_FIRST_UNREAD, parameters | {"limit": 1})).scalar()
        if first_unread is not None:
            floor = first_unread - 1
            break
        floor, step = through, step * FLOOR_GROWTH
    if floor > before:
        await connection.execute(_RAISE_FLOOR, {"user_id": user_id, "seq": floor})
