"""What requests carry in their bodies (SPEC §2). Unknown fields are errors; OpenAPI's schemas are made of these.

The limits written here are the domain's own: here they let one answer tell of every wrong field, there they hold for
every caller.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from sse_domain.errors import InvalidInput
from sse_domain.message import (
    BROADCAST,
    MAX_TTL_SECONDS,
    Draft,
    Priority,
    Receiver,
)
from sse_domain.subscription import MAX_SUBSCRIPTION_TYPES

MAX_BATCH_MESSAGES = 1000
MAX_READ_IDS = 1000

IDENTIFIER_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f]+$"
EVENT_ID_PATTERN = r"^[A-Za-z0-9_.:-]+$"
EVENT_TYPE_PATTERN = r"^(?!sse\.)[A-Za-z0-9_.:-]+$"
PATTERN_SENTENCES = {
    IDENTIFIER_PATTERN: "must be 1 to 128 characters, none of them a control character",
    EVENT_ID_PATTERN: "must be 1 to 64 characters of A-Z a-z 0-9 _ . : -",
    EVENT_TYPE_PATTERN: "must be 1 to 64 characters of A-Z a-z 0-9 _ . : -, and not begin with sse.",
}

Identifier = Annotated[str, Meta(min_length=1, max_length=128, pattern=IDENTIFIER_PATTERN)]
UserId = Annotated[Identifier, Meta(description="A user of the application.", examples=["user123"])]
ClientId = Annotated[Identifier, Meta(description="One device or tab.", examples=["phone-7f3a"])]
Group = Annotated[Identifier, Meta(description="A named audience.", examples=["challenge_456"])]
EventType = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=EVENT_TYPE_PATTERN,
        description="What a reader listens for. `sse.` begins the hub's own events and is refused.",
        examples=["rank_update"],
    ),
]
EventId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=EVENT_ID_PATTERN,
        description="The message's identity. Sending it again with the same content changes nothing.",
        examples=["order-1042-paid"],
    ),
]
Position = Annotated[
    str, Meta(min_length=1, max_length=128, description="An event id, or what a stream gave as `lastEventId`.")
]
PriorityValue = Annotated[
    Literal[0, 1, 2, "normal", "high", "urgent"], Meta(description="Urgent overtakes high overtakes normal.")
]
PRIORITIES: dict[int | str, Priority] = {
    spelling: priority for priority in Priority for spelling in (priority.value, priority.name.lower())
}


class Sending(Struct, kw_only=True, forbid_unknown_fields=True):
    """What every message has."""

    event_type: EventType
    data: Annotated[Raw, Meta(description="Any JSON value of up to 256 KiB; readers get it back as it was written.")]
    persist: Annotated[bool, Meta(description="Keep it until it is seen; otherwise it is only for open streams.")] = (
        False
    )
    priority: PriorityValue = 0
    ttl: Annotated[float, Meta(gt=0, le=MAX_TTL_SECONDS, description="Seconds until it expires.")] | None = None
    event_id: EventId | None = None

    def draft(self, receiver: Receiver) -> Draft:
        """The message as the hub takes it. Raises InvalidInput or TooLarge."""
        return Draft(
            receiver=receiver,
            event_type=self.event_type,
            data=bytes(self.data),
            persist=self.persist,
            priority=PRIORITIES[self.priority],
            ttl=self.ttl,
            event_id=self.event_id,
        )


class SendToOne(Sending, kw_only=True, forbid_unknown_fields=True):
    """A message to one user or one client: name exactly one."""

    user_id: UserId | None = None
    client_id: ClientId | None = None

    def receiver(self) -> Receiver:
        return _only_receiver("receiver", "user_id and client_id", user_id=self.user_id, client_id=self.client_id)


class SendToGroup(Sending, kw_only=True, forbid_unknown_fields=True):
    """A message to a group."""

    group: Group


class Broadcast(Sending, kw_only=True, forbid_unknown_fields=True):
    """A message to everyone."""


class To(Struct, kw_only=True, forbid_unknown_fields=True):
    """A message's receiver: name exactly one."""

    user_id: UserId | None = None
    client_id: ClientId | None = None
    group: Group | None = None
    broadcast: Literal[True] | None = None

    def receiver(self) -> Receiver:
        return _only_receiver(
            "to",
            "user_id, client_id, group and broadcast",
            user_id=self.user_id,
            client_id=self.client_id,
            group=self.group,
            broadcast=self.broadcast,
        )


class BatchMessage(Sending, kw_only=True, forbid_unknown_fields=True):
    """One message of a batch."""

    to: To


class Batch(Struct, kw_only=True, forbid_unknown_fields=True):
    """Messages to send in order. Each is checked by itself, so a wrong one fails alone."""

    messages: Annotated[list[BatchMessage], Meta(max_length=MAX_BATCH_MESSAGES)]


class UncheckedBatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """A `Batch` of which any message may be wrong."""

    messages: Annotated[list[Raw], Meta(max_length=MAX_BATCH_MESSAGES)]


class MarkRead(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which messages the user has read: exactly one of the three."""

    user_id: UserId
    event_ids: Annotated[list[Position], Meta(max_length=MAX_READ_IDS, description="Exactly these.")] | None = None
    up_to: (
        Annotated[
            Position,
            Meta(
                description="With an event id, every visible message of its seq or lower; with a stream's id, what "
                "that stream's positions cover."
            ),
        ]
        | None
    ) = None
    all: Literal[True] | None = None

    def check_selection(self) -> None:
        if (self.event_ids, self.up_to, self.all).count(None) != 2:
            raise InvalidInput("selection", "exactly one of event_ids, up_to and all must be given")


class Subscribe(Struct, kw_only=True, forbid_unknown_fields=True):
    """A durable membership: the user's streams get the group's messages from now on."""

    user_id: UserId
    group: Group
    event_types: (
        Annotated[
            list[EventType],
            Meta(min_length=1, max_length=MAX_SUBSCRIPTION_TYPES, description="Only these types; null for all."),
        ]
        | None
    ) = None


class Unsubscribe(Struct, kw_only=True, forbid_unknown_fields=True):
    """A membership to end."""

    user_id: UserId
    group: Group


class Disconnect(Struct, kw_only=True, forbid_unknown_fields=True):
    """How to end a client's streams."""

    reconnect: Annotated[
        bool, Meta(description="Whether the client may come back at once. Otherwise it is turned away for 30 s.")
    ] = False


class DisconnectAny(Disconnect, kw_only=True, forbid_unknown_fields=True):
    """Whose streams to end: name exactly one."""

    user_id: UserId | None = None
    client_id: ClientId | None = None

    def receiver(self) -> Receiver:
        return _only_receiver("receiver", "user_id and client_id", user_id=self.user_id, client_id=self.client_id)


def _only_receiver(
    field: str,
    names: str,
    *,
    user_id: str | None = None,
    client_id: str | None = None,
    group: str | None = None,
    broadcast: bool | None = None,
) -> Receiver:
    if (user_id, client_id, group, broadcast).count(None) != 3:
        raise InvalidInput(field, f"exactly one of {names} must be given")
    if user_id is not None:
        return Receiver.user(user_id)
    if client_id is not None:
        return Receiver.client(client_id)
    return BROADCAST if group is None else Receiver.group(group)
