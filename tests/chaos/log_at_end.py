"""The log as the database has it: what a record is checked against in the end."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from tests.chaos.record import Log, Row
from tests.support.sql import query

_MESSAGES = (
    "SELECT id, event_id, data, event_type, receiver_type, receiver_id, priority, status, created_at, expire_at"
    " FROM app_sse_message ORDER BY id"
)


async def read_log(database_url: str) -> Log:
    [(last_seq, purged_through)] = await _rows(database_url, "SELECT last_seq, purged_through FROM app_sse_log")
    rows = [
        Row(
            seq=seq,
            event_id=event_id,
            n=json.loads(data)["n"],
            event_type=event_type,
            to=(receiver_type, receiver_id or ""),
            priority=priority,
            status=status,
            created_at=_seconds(created_at) or 0.0,
            expire_at=_seconds(expire_at),
        )
        for seq, event_id, data, event_type, receiver_type, receiver_id, priority, status, created_at, expire_at in (
            await _rows(database_url, _MESSAGES)
        )
    ]
    standing = "SELECT user_id, group_name, joined_after FROM app_sse_subscription WHERE status = 1"
    return Log(
        last_seq=last_seq,
        purged_through=purged_through,
        rows=rows,
        joined=[(user, group, after) for user, group, after in await _rows(database_url, standing)],
        read=[(user, seq) for user, seq in await _rows(database_url, "SELECT user_id, seq FROM app_sse_read")],
    )


async def _rows(database_url: str, statement: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await query(database_url, statement)]


def _seconds(moment: datetime | str | None) -> float | None:
    """A time in UTC, as the database's driver gives it, in seconds since the epoch."""
    if moment is None:
        return None
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
