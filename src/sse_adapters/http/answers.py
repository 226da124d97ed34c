"""What answers carry in their bodies (SPEC §2), and how the application's values become it."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response
from msgspec import Meta, Raw, Struct

from sse_adapters.http.problems import Problem
from sse_domain.api import MarkedRead, MessagePage, PresenceInfo, Receipt
from sse_domain.inbox import InboxEntry
from sse_domain.message import Message, Priority, ReceiverType
from sse_domain.presence import ClientInfo
from sse_domain.subscription import Subscription

Seq = Annotated[int, Meta(ge=1, description="Its place in the log.")]
Timestamp = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC, to the microsecond.",
        examples=["2025-03-01T12:00:00.000000Z"],
        extra_json_schema={"format": "date-time"},
    ),
]


def json_answer(value: object, status: HTTPStatus = HTTPStatus.OK) -> Response[bytes]:
    """An answer with this value as its JSON body."""
    return Response(
        msgspec.json.encode(value),
        status_code=status.value,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC. Always with microseconds, so that the text sorts as the time does."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _timestamp_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else timestamp(moment)


class Sent(Struct, frozen=True, kw_only=True):
    """What became of a message. `connections` counts the streams of this node that it was handed to."""

    event_id: str
    seq: Seq | None
    persisted: bool
    expire_at: Timestamp | None
    connections: Annotated[int, Meta(ge=0)]

    @classmethod
    def of(cls, receipt: Receipt) -> Sent:
        return cls(
            event_id=receipt.event_id,
            seq=receipt.seq,
            persisted=receipt.persisted,
            expire_at=_timestamp_or_none(receipt.expire_at),
            connections=receipt.connections,
        )


class NotSent(Struct, frozen=True, kw_only=True):
    """Why one message of a batch was not sent."""

    error: Problem


class BatchSent(Struct, frozen=True, kw_only=True):
    """What became of each message, in the batch's order."""

    results: Annotated[list[Any], Meta(description="Each a `Sent`, or a `NotSent` for one that was refused.")]


class MessageView(Struct, frozen=True, kw_only=True):
    """A message as one user sees it."""

    event_id: str
    seq: Seq | None
    event_type: str
    receiver_type: ReceiverType
    receiver_id: str | None
    group: str | None
    priority: Priority
    data: Raw
    status: Annotated[str, Meta(extra_json_schema={"enum": ["pending", "sent", "read"]})]
    created_at: Timestamp
    expire_at: Timestamp | None

    @classmethod
    def of(cls, entry: InboxEntry) -> MessageView:
        message: Message = entry.message
        kind, identity = message.receiver
        return cls(
            event_id=message.event_id,
            seq=message.seq,
            event_type=message.event_type,
            receiver_type=kind,
            receiver_id=identity,
            group=identity if kind is ReceiverType.GROUP else None,
            priority=message.priority,
            data=Raw(message.data),
            status=entry.status.name.lower(),
            created_at=timestamp(message.created_at),
            expire_at=_timestamp_or_none(message.expire_at),
        )


class Messages(Struct, frozen=True, kw_only=True):
    """One page of a listing. `next` goes into the next call's `after`; null on the last page."""

    messages: list[MessageView]
    next: str | None

    @classmethod
    def of(cls, page: MessagePage) -> Messages:
        return cls(messages=[MessageView.of(entry) for entry in page.entries], next=page.next)


class ByPriority(Struct, frozen=True, kw_only=True):
    normal: int
    high: int
    urgent: int


class Unread(Struct, frozen=True, kw_only=True):
    """How many visible messages the user has not read."""

    user_id: str
    total: Annotated[int, Meta(ge=0)]
    by_priority: ByPriority
    by_group: dict[str, int]
    by_event_type: dict[str, int]


class Marked(Struct, frozen=True, kw_only=True):
    """`marked` messages were not marked before; `unread` are the counts after."""

    marked: Annotated[int, Meta(ge=0)]
    unread: Unread


def marked(user_id: str, result: MarkedRead) -> dict[str, object]:
    """A `Marked`, with the very counts that `sse.unread` carries."""
    return {"marked": result.marked, "unread": result.unread.payload(user_id)}


class Membership(Struct, frozen=True, kw_only=True):
    """A durable membership. `event_types` null: every type."""

    user_id: str
    group: str
    event_types: list[str] | None

    @classmethod
    def of(cls, subscription: Subscription) -> Membership:
        types = subscription.event_types
        return cls(
            user_id=subscription.user_id,
            group=subscription.group,
            event_types=None if types is None else list(types),
        )


class Memberships(Struct, frozen=True, kw_only=True):
    """By group name."""

    subscriptions: list[Membership]


class Unsubscribed(Struct, frozen=True, kw_only=True):
    """Whether there was a membership to end."""

    unsubscribed: bool


class Client(Struct, frozen=True, kw_only=True):
    """One open connection."""

    connection_id: str
    client_id: str
    user_id: str | None
    groups: list[str]
    event_types: list[str] | None
    state: str
    connected_at: Timestamp

    @classmethod
    def of(cls, client: ClientInfo) -> Client:
        return cls(
            connection_id=client.connection_id,
            client_id=client.client_id,
            user_id=client.user_id,
            groups=list(client.groups),
            event_types=None if client.event_types is None else list(client.event_types),
            state=client.state,
            connected_at=timestamp(client.connected_at),
        )


class Clients(Struct, frozen=True, kw_only=True):
    """Open connections, oldest first."""

    clients: list[Client]


class UserPresence(Struct, frozen=True, kw_only=True):
    """`last_seen` is now for one who is online, null for one who never was."""

    user_id: str
    online: bool
    connections: Annotated[int, Meta(ge=0)]
    last_seen: Timestamp | None

    @classmethod
    def of(cls, presence: PresenceInfo) -> UserPresence:
        return cls(
            user_id=presence.user_id,
            online=presence.online,
            connections=presence.connections,
            last_seen=_timestamp_or_none(presence.last_seen),
        )


class Online(Struct, frozen=True, kw_only=True):
    """In the order asked."""

    users: list[UserPresence]


class Disconnected(Struct, frozen=True, kw_only=True):
    """How many streams were ended."""

    disconnected: Annotated[int, Meta(ge=0)]


class Health(Struct, frozen=True, kw_only=True):
    status: Literal["ok", "unavailable"]
