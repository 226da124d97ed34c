"""Rows and the values they stand for, one pair per table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, literal

from sse_adapters.sql import schema
from sse_domain.cursor import Positions
from sse_domain.inbox import Delivered, Status
from sse_domain.log import Entry
from sse_domain.message import Draft, Message, Priority, Receiver, ReceiverType
from sse_domain.replay import LogHead
from sse_domain.subscription import Membership, Subscription

MESSAGE_COLUMNS = (
    schema.message.c.event_id,
    schema.message.c.id,
    schema.message.c.event_type,
    schema.message.c.receiver_type,
    schema.message.c.receiver_id,
    schema.message.c.priority,
    schema.message.c.data,
    schema.message.c.created_at,
    schema.message.c.ttl,
    schema.message.c.expire_at,
)
# The same without its data, for deciding about a message without reading it.
HEADER_COLUMNS = tuple(
    literal("").label(column.name) if column is schema.message.c.data else column for column in MESSAGE_COLUMNS
)


def to_message(row: Sequence[Any]) -> Message:
    """The message of a row of MESSAGE_COLUMNS or HEADER_COLUMNS."""
    event_id, seq, event_type, kind, identity, priority, data, created_at, ttl, expire_at = row
    return Message(
        event_id=event_id,
        seq=seq,
        event_type=event_type,
        receiver=Receiver(ReceiverType(kind), identity or None),
        priority=Priority(priority),
        data=data.encode(),
        created_at=created_at,
        ttl=ttl,
        expire_at=expire_at,
    )


def from_message(message: Message) -> tuple[Any, ...]:
    """The row of a message just appended, in the order of the table's columns."""
    kind, identity = message.receiver
    return (
        message.seq,
        message.event_id,
        message.event_type,
        kind.value,
        identity or "",
        identity if kind is ReceiverType.GROUP else None,
        message.priority.value,
        Status.PENDING.value,
        message.ttl,
        message.expire_at,
        message.created_at,
        len(message.data),
        message.data.decode(),
    )


def to_head(row: Any) -> LogHead:
    """The head of a log, of the row of its table."""
    return LogHead(epoch=row.epoch, seq=row.last_seq, purged_through=row.purged_through, memberships=row.memberships)


def to_entry(row: RowMapping) -> Entry:
    draft = Draft(
        receiver=Receiver(ReceiverType(row["receiver_type"]), row["receiver_id"] or None),
        event_type=row["event_type"],
        data=row["data"].encode(),
        persist=True,
        priority=Priority(row["priority"]),
        ttl=row["ttl"],
        event_id=row["event_id"] if row["may_repeat"] else None,
    )
    return Entry(draft, row["event_id"], row["may_repeat"])


def from_entry(entry: Entry) -> dict[str, Any]:
    """The row of an entry in the outbox. Its place is the database's to give."""
    kind, identity = entry.draft.receiver
    return {
        "event_id": entry.event_id,
        "may_repeat": entry.may_repeat,
        "event_type": entry.draft.event_type,
        "receiver_type": kind.value,
        "receiver_id": identity or "",
        "priority": entry.draft.priority.value,
        "ttl": entry.draft.ttl,
        "data": entry.draft.data.decode(),
    }


def to_subscription(row: RowMapping) -> Subscription:
    return Subscription(
        user_id=row["user_id"],
        group=row["group_name"],
        event_types=None if row["event_types"] is None else tuple(json.loads(row["event_types"])),
        joined_after=row["joined_after"],
    )


def to_membership(row: RowMapping) -> Membership:
    standing = to_subscription(row) if row["status"] == 1 else None
    return Membership(row["user_id"], row["group_name"], standing, row["version"])


def from_subscription(subscription: Subscription, version: int) -> dict[str, Any]:
    """The row of a standing subscription."""
    types = subscription.event_types
    return {
        "user_id": subscription.user_id,
        "group_name": subscription.group,
        "event_types": None if types is None else json.dumps(types),
        "status": 1,
        "joined_after": subscription.joined_after,
        "version": version,
    }


def to_delivered(row: Sequence[Any]) -> tuple[Receiver, Delivered]:
    """Who was given what, of a row with all columns of its table."""
    kind, identity, normal, high, urgent, seen_at = row
    return Receiver(ReceiverType(kind), identity), Delivered(Positions(normal, high, urgent), seen_at)


def from_delivered(reader: Receiver, given: Delivered) -> dict[str, Any]:
    return {
        "reader_type": reader.type.value,
        "reader_id": reader.id,
        **given.positions._asdict(),
        "seen_at": given.seen_at,
    }
