"""The inbox contract of SPEC §4: what a user sees, has not read, and is still owed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import NamedTuple

from sse_domain.cursor import Positions
from sse_domain.errors import InvalidInput
from sse_domain.message import Message, Priority, ReceiverType, check_instant
from sse_domain.subscription import Subscription

MAX_PAGE = 1000
DEFAULT_PAGE = 100
MAX_PAGE_BYTES = 8 * 1024 * 1024  # of data in one answer, past its first message


class Status(IntEnum):
    """How far a message has come for one user. Never decreases."""

    PENDING = 0
    SENT = 1
    READ = 2


class StatusFilter(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    READ = "read"
    UNREAD = "unread"  # pending or sent

    def admits(self, status: Status) -> bool:
        if self is StatusFilter.UNREAD:
            return status is not Status.READ
        return status.name.lower() == self.value


def visible(message: Message, user_id: str, subscriptions: Mapping[str, Subscription], now: datetime) -> bool:
    """*visible(m, u)* of SPEC §4 for a persisted message that is still kept. `subscriptions` are u's, by group."""
    if message.expired(now):
        return False
    kind, identity = message.receiver
    if kind is ReceiverType.USER:
        return identity == user_id
    if kind is ReceiverType.GROUP:
        subscription = subscriptions.get(identity or "")
        return subscription is not None and subscription.admits(message)
    return kind is ReceiverType.BROADCAST


def status_of(message: Message, *, read: bool, delivered: Positions) -> Status:
    """The status of a visible message for a user whose unfiltered streams have been given `delivered`."""
    if read:
        return Status.READ
    return Status.SENT if (message.seq or 0) <= delivered[message.priority] else Status.PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxEntry:
    """A message as one user sees it."""

    message: Message
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxQuery:
    """Which of a user's visible messages to list, by seq. Valid once constructed.

    `after` continues a listing: ascending lists what lies beyond the position of its priority, descending what lies
    below its greatest position. `since` bounds created_at from below, inclusive. Raises InvalidInput.
    """

    user_id: str
    status: StatusFilter | None = None
    event_type: str | None = None
    group: str | None = None
    priority: Priority | None = None
    after: Positions | None = None
    since: datetime | None = None
    descending: bool = False
    limit: int = DEFAULT_PAGE

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_PAGE:
            raise InvalidInput("limit", f"must be 1 to {MAX_PAGE}")
        check_instant("since", self.since)

    def admits(self, entry: InboxEntry) -> bool:
        """Whether a visible message belongs to the answer. The rule itself: adapters' queries must agree with it."""
        message = entry.message
        seq = message.seq or 0
        return (
            (self.status is None or self.status.admits(entry.status))
            and (self.event_type is None or message.event_type == self.event_type)
            and (self.group is None or message.receiver == (ReceiverType.GROUP, self.group))
            and (self.priority is None or message.priority == self.priority)
            and (self.since is None or message.created_at >= self.since)
            and (
                self.after is None or (seq < max(self.after) if self.descending else seq > self.after[message.priority])
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadCounts:
    """How many visible messages a user has not read, in all and by each of three keys.

    `by_group` counts messages to groups only. `next_expiry` is when the counts next change by themselves, or None; it
    does not take part in comparisons.
    """

    total: int = 0
    by_priority: Mapping[Priority, int] = field(default_factory=dict)
    by_group: Mapping[str, int] = field(default_factory=dict)
    by_event_type: Mapping[str, int] = field(default_factory=dict)
    next_expiry: datetime | None = field(default=None, compare=False)

    def payload(self, user_id: str | None) -> dict[str, object]:
        """The counts as readers get them, in `sse.open`, `sse.unread` and GET /messages/unread alike (SPEC §2)."""
        return {
            "user_id": user_id,
            "total": self.total,
            "by_priority": {priority.name.lower(): self.by_priority.get(priority, 0) for priority in Priority},
            "by_group": dict(self.by_group),
            "by_event_type": dict(self.by_event_type),
        }


def count_unread(messages: Iterable[Message]) -> UnreadCounts:
    """The counts of these unread messages: the definition that every store's own counting must equal."""
    total = 0
    by_priority: dict[Priority, int] = {}
    by_group: dict[str, int] = {}
    by_event_type: dict[str, int] = {}
    next_expiry: datetime | None = None
    for message in messages:
        total += 1
        by_priority[message.priority] = by_priority.get(message.priority, 0) + 1
        by_event_type[message.event_type] = by_event_type.get(message.event_type, 0) + 1
        if message.receiver.type is ReceiverType.GROUP and message.receiver.id is not None:
            by_group[message.receiver.id] = by_group.get(message.receiver.id, 0) + 1
        if message.expire_at is not None and (next_expiry is None or message.expire_at < next_expiry):
            next_expiry = message.expire_at
    return UnreadCounts(
        total=total,
        by_priority=by_priority,
        by_group=by_group,
        by_event_type=by_event_type,
        next_expiry=next_expiry,
    )


@dataclass(frozen=True, slots=True)
class TheseSeqs:
    """Mark exactly these messages, by seq."""

    seqs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UpTo:
    """Mark everything at or below the position of its priority."""

    positions: Positions


ReadSelection = TheseSeqs | UpTo


@dataclass(frozen=True, slots=True)
class Delivered:
    """Per priority, the furthest persisted message given to a reader's unfiltered streams; and when it was last
    connected."""

    positions: Positions
    seen_at: datetime


class UnreadStamp(NamedTuple):
    """What a user's unread counts depend on, beside the time: while it is the same, they change only when a counted
    message expires.

    `memberships` is the log's, and `removals` counts how often retention has removed anything for its age. `last_seq`
    is that of the newest kept message to the user, to a group of theirs, or to everyone, whether visible or not; 0
    without any. `marking` names the last time the user marked anything as read, and is different for each; 0 before the
    first, and once it is forgotten.
    """

    epoch: str
    memberships: int
    removals: int
    last_seq: int
    marking: int
