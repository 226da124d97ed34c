"""Counting what users have not read, for many of them at once, inside a transaction of the caller's.

What is counted are spans beyond each user's floor. Most users have marked nothing beyond theirs, and then a broadcast,
or a message to a group, is unread by all of them or by none: a span that several of them share is counted once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.audience import inbox_audience, reach_beyond, sum_of_unread
from sse_adapters.sql.marks import read_floors_of, with_marks_beyond
from sse_adapters.sql.schema import message
from sse_adapters.sql.spans import Span
from sse_adapters.sql.subscriptions import subscriptions_of
from sse_domain.inbox import UnreadCounts
from sse_domain.message import Priority, ReceiverType

_KEYS = (message.c.priority, message.c.event_type)
_UNREAD = sum_of_unread(_KEYS, (func.count(), func.min(message.c.expire_at)))


async def unread_counts(connection: AsyncConnection, user_ids: Sequence[str], now: datetime) -> dict[str, UnreadCounts]:
    """Each of these users' counts."""
    standing = await subscriptions_of(connection, user_ids)
    floors = dict.fromkeys(user_ids, 0) | await read_floors_of(connection, user_ids)
    marked = await with_marks_beyond(connection, floors)
    spans_of = {
        user_id: list(
            reach_beyond(inbox_audience(user_id, standing[user_id]), floors[user_id], marked=user_id in marked)
        )
        for user_id in floors
    }
    spans = list(dict.fromkeys(span for spans in spans_of.values() for span in spans))
    answers: dict[Span, list[Row[Any]]] = defaultdict(list)
    for row in await _UNREAD.ask(connection, spans, {"now": now}):
        answers[spans[row[0]]].append(row)
    return {
        user_id: _counts([(span, answers[span]) for span in spans if span in answers])
        for user_id, spans in spans_of.items()
    }


def _counts(answers: Iterable[tuple[Span, Iterable[Sequence[Any]]]]) -> UnreadCounts:
    """Sums up answers to _UNREAD as `count_unread` counts messages."""
    total = 0
    by_priority: dict[Priority, int] = {}
    by_group: dict[str, int] = {}
    by_event_type: dict[str, int] = {}
    expiries: list[datetime] = []
    for span, rows in answers:
        for _, level, event_type, count, expiry in rows:
            priority = Priority(level)
            total += count
            by_priority[priority] = by_priority.get(priority, 0) + count
            by_event_type[event_type] = by_event_type.get(event_type, 0) + count
            if span.receiver_type == ReceiverType.GROUP:
                by_group[span.receiver_id] = by_group.get(span.receiver_id, 0) + count
            if expiry is not None:
                expiries.append(expiry)
    return UnreadCounts(
        total=total,
        by_priority=by_priority,
        by_group=by_group,
        by_event_type=by_event_type,
        next_expiry=min(expiries, default=None),
    )
