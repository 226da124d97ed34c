"""Who may see what: durable subscriptions and the audience rule of one stream (SPEC §3.6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sse_domain.errors import InvalidInput
from sse_domain.message import Message, ReceiverType, check_event_type

MAX_SUBSCRIPTION_TYPES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A user's durable membership of a group.

    `joined_after` is the log's head at the join: messages with a greater seq are the subscriber's. `event_types` None
    means every type. Leaving deletes the membership with its past; joining again begins at the new join.
    """

    user_id: str
    group: str
    event_types: tuple[str, ...] | None
    joined_after: int

    def admits(self, message: Message) -> bool:
        """Whether a message to this group is the subscriber's (an ephemeral one has no seq: it is always now)."""
        return (message.seq is None or message.seq > self.joined_after) and (
            self.event_types is None or message.event_type in self.event_types
        )


def check_event_types(event_types: Iterable[str] | None) -> tuple[str, ...] | None:
    """The types of a subscription or a stream filter, in the order given, each once. None stays None: every type.

    Raises InvalidInput on an empty list: it would admit nothing, which is what leaving is for.
    """
    if event_types is None:
        return None
    distinct = tuple(dict.fromkeys(check_event_type(name, "event_types") for name in event_types))
    if not 1 <= len(distinct) <= MAX_SUBSCRIPTION_TYPES:
        raise InvalidInput("event_types", f"must name 1 to {MAX_SUBSCRIPTION_TYPES} types, or be left out for all")
    return distinct


@dataclass(slots=True, kw_only=True, eq=False)
class Audience:
    """What one stream may be given: its user's, its client's, its groups' and broadcast messages, and no other.

    `groups` were joined by URL; their messages count beyond `groups_after` (the head at the opening, or 0 on resume:
    the cursor bounds them then). `subscriptions`, by group, is shared by all streams of a user and changes in place
    when the user joins or leaves. `event_types` None means unfiltered.
    """

    client_id: str | None
    user_id: str | None = None
    groups: frozenset[str] = frozenset()
    groups_after: int = 0
    subscriptions: Mapping[str, Subscription]
    event_types: frozenset[str] | None = None

    def admits(self, message: Message) -> bool:
        """Whether this stream may be given the message. The rule itself: adapters' queries must agree with it."""
        if self.event_types is not None and message.event_type not in self.event_types:
            return False
        kind, identity = message.receiver
        if kind is ReceiverType.BROADCAST:
            return True
        if kind is ReceiverType.USER:
            return identity == self.user_id
        if kind is ReceiverType.CLIENT:
            return identity == self.client_id
        if identity in self.groups and (message.seq is None or message.seq > self.groups_after):
            return True
        subscription = self.subscriptions.get(identity or "")
        return subscription is not None and subscription.admits(message)


class Membership(NamedTuple):
    """What stands between a user and a group since the `version`th membership change; None: the user has left."""

    user_id: str
    group: str
    subscription: Subscription | None
    version: int


class Joined(NamedTuple):
    """The subscription that stands after a join, whether it is new, and the membership change that made it so."""

    subscription: Subscription
    new: bool
    version: int
