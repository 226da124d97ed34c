"""Every port, on one page. The docstrings are the contracts; one suite holds every adapter to them.

Time always comes in as an argument (aware UTC): no adapter reads a clock. Whatever a store can't do because its
server does not answer raises StoreUnavailable. All methods are safe to call concurrently from one event loop.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple, Protocol

from sse_domain.cursor import Positions
from sse_domain.inbox import InboxEntry, InboxQuery, ReadSelection, UnreadCounts
from sse_domain.message import Draft, Message, Receiver
from sse_domain.replay import LogHead, ReadRequest, ReplayPage
from sse_domain.subscription import Audience, Subscription


@dataclass(frozen=True, slots=True)
class Entry:
    """A draft on its way into the log. `may_repeat`: its event_id may be in the log already and must be looked up."""

    draft: Draft
    event_id: str
    may_repeat: bool


class Outcome(Enum):
    NEW = "new"
    REPEATED = "repeated"  # the same content was sent before under this event_id
    CONFLICT = "conflict"  # other content was sent before under this event_id


class Appended(NamedTuple):
    """What became of an entry. `message` is the one that is in the log under its event_id."""

    outcome: Outcome
    message: Message


class Commit(NamedTuple):
    """What became of each entry of a batch, in order; and the log's head as the batch left it: its last new message is
    the log's last, and `head.memberships` are all the membership changes that came before it."""

    appended: list[Appended]
    head: LogHead


class MessageLog(Protocol):
    """The log of persisted messages: one dense series of seq, equal to commit order (SPEC §1, §3.8)."""

    @abstractmethod
    async def head(self) -> LogHead:
        """The log's identity and extent, at one instant. Never runs ahead of what is read after it, also by the other
        ports."""

    @abstractmethod
    async def append(self, entries: Sequence[Entry], now: datetime) -> Commit:
        """Commit the new ones among `entries`, in order, as the next seqs; answer each, in order.

        Atomic: all new entries are durably committed on return, or none is. A lower seq never becomes visible after a
        higher one. Within one call a repeated event_id counts as a repeat of its first use. On StoreUnavailable the
        batch may or may not be committed; appending the same entries again with `may_repeat` settles it.
        """

    @abstractmethod
    async def read(self, after: int, limit: int) -> list[Message]:
        """Kept messages with seq > `after`, by seq, expired ones included."""

    @abstractmethod
    async def replay(self, audience: Audience, request: ReadRequest, now: datetime) -> ReplayPage:
        """What `audience.admits` within `request`, less what its user has read and what is expired at `now`."""

    @abstractmethod
    async def find(self, event_ids: Sequence[str]) -> dict[str, Message]:
        """The kept messages with these event_ids; ids not in the log are absent."""

    @abstractmethod
    async def seq_before(self, since: datetime) -> int:
        """The greatest seq below every message created at or after `since`; the head's seq when there is none such."""

    @abstractmethod
    async def first_owed(self, receiver: Receiver, after: Positions, now: datetime) -> tuple[int | None, ...]:
        """Per priority, the lowest seq beyond `after` addressed to exactly `receiver` and not expired, or None."""


class LogIdentity(Protocol):
    """The log's name, for a log that is found to have been set back while nodes stood on it."""

    @abstractmethod
    async def rename(self, old: str, new: str, through: int) -> None:
        """Give the log the epoch `new` if it still has `old`.

        In the same transaction every record of what a reader was given that lies beyond `through`, where the log was
        seen to end, is brought back to it: more was given only of what is no longer there.
        """


class Outbox(Protocol):
    """Messages sent inside transactions of the application's own, until they are in the log (SPEC §6)."""

    @abstractmethod
    async def put(self, entry: Entry, transaction: object, committing: Callable[[], None]) -> None:
        """Leave an entry in the caller's transaction: from its commit on it waits to be relayed; if there is none, or
        it is rolled back to a savepoint before this, the entry was never there.

        `transaction` is an AsyncSession or AsyncConnection of SQLAlchemy on this store's own database; it begins with
        this unless it has. `committing` is called when it is about to commit. An entry whose content the log already
        has under its event_id is not left.

        Raises InvalidInput for any other `transaction`, EventIdConflict when the log has other content under the
        event_id, and whatever the transaction itself raises.
        """

    @abstractmethod
    async def waiting(self) -> bool:
        """Whether any entry waits to be relayed. Cheap, and writes nothing."""

    @abstractmethod
    async def relay(self, limit: int, now: datetime) -> Commit:
        """Move up to `limit` waiting entries, in the order they were put in, into the log; answer each, in order.

        One transaction that appends as `MessageLog.append` does. Each entry is moved by one caller only, however many
        relay at once; what repeats or conflicts with the log is dropped. On StoreUnavailable they may or may not have
        been moved; none is lost.
        """


class Inbox(Protocol):
    """What users have been given and have read (SPEC §4)."""

    @abstractmethod
    async def messages(self, query: InboxQuery, delivered: Positions, now: datetime) -> list[InboxEntry]:
        """The first visible messages that `query.admits`, by seq in its direction: as many as `page_length` allows with
        `query.limit` and MAX_PAGE_BYTES.

        `delivered` is what the user's unfiltered streams were given: it tells pending from sent.
        """

    @abstractmethod
    async def unread(self, user_id: str, now: datetime) -> UnreadCounts:
        """The counts over every visible message that is not read, with the next expiry among them."""

    @abstractmethod
    async def oldest_unread(self, user_id: str, now: datetime) -> tuple[int | None, ...]:
        """Per priority, the lowest seq of a visible message that is not read, or None."""

    @abstractmethod
    async def mark_read(self, user_id: str, selection: ReadSelection, now: datetime) -> int:
        """Mark the selected messages that are visible now; how many were not marked before.

        Idempotent and commutative; a mark is never taken back. Row status rises to READ for messages to the user alone.
        """

    @abstractmethod
    async def delivered(self, reader: Receiver) -> Delivered | None:
        """What this user or client was given as last recorded, or None if it was never seen."""

    @abstractmethod
    async def record_delivered(self, records: Mapping[Receiver, Delivered]) -> None:
        """Merge what readers were given: positions and seen_at only move forward. Row status of messages addressed to
        exactly that reader, at or below its positions, rises to SENT."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Per priority, the furthest persisted message given to a reader's unfiltered streams; and when it was last
    connected."""

    positions: Positions
    seen_at: datetime


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


class Subscriptions(Protocol):
    """Durable group memberships.

    Whatever changes one raises the log's `memberships` by one in the same transaction, in one order with appends: a
    message committed after a change has a head with at least its version, one committed before has not. What changes
    nothing raises nothing.
    """

    @abstractmethod
    async def join(self, user_id: str, group: str, event_types: tuple[str, ...] | None) -> Joined:
        """Subscribe, or change the types of a standing subscription (its join stays).

        A new one takes `joined_after` from the log's head atomically: a message committed later has a greater seq.
        """

    @abstractmethod
    async def leave(self, user_id: str, group: str) -> int | None:
        """End a subscription; the version of that change, or None when there was none to end."""

    @abstractmethod
    async def changed_since(self, version: int, limit: int) -> list[Membership]:
        """Memberships whose last change came after `version`, as they stand now, by their version, at most `limit`."""

    @abstractmethod
    async def of_user(self, user_id: str) -> list[Subscription]:
        """The user's standing subscriptions, by group name in code point order."""

    @abstractmethod
    async def of_group(self, group: str, limit: int) -> list[Subscription]:
        """The group's standing subscriptions, by user id in code point order, at most `limit`."""


class Retention(Protocol):
    """What the janitor removes, in short transactions, so that a run never holds up sends."""

    @abstractmethod
    async def remove_expired(self, now: datetime, limit: int) -> int:
        """Remove up to `limit` messages expired at `now`, with their read marks; how many."""

    @abstractmethod
    async def remove_older(self, than: datetime, limit: int) -> int:
        """Remove up to `limit` of the oldest messages created before `than`, with their read marks; how many.

        In the transaction that removes them `purged_through` rises to the greatest seq removed.
        """

    @abstractmethod
    async def forget_readers(self, unseen_since: datetime, limit: int) -> int:
        """Remove up to `limit` delivery records of readers last seen before `unseen_since`; how many."""


class StoreTime(Protocol):
    """The clock of a store that several nodes share, and that all of them go by (SPEC §3.7)."""

    @abstractmethod
    async def now(self) -> datetime | None:
        """Its time, aware UTC; None for a store that has no clock but its node's own."""


class FrameWriter(Protocol):
    """Where one stream's frames go: a socket, or an in-process listener. Synchronous: no call ever waits.

    While `blocked`, the reader has not taken what was written before: nothing but `close` may be called until the
    writer calls `drained`, which the hub sets when the stream opens. Writing to a reader that is gone does nothing.
    """

    blocked: bool
    drained: Callable[[], None]

    @abstractmethod
    def give(self, batch: Sequence[tuple[Message, str | None]]) -> None:
        """Write messages, in order, each with its cursor (None: ephemeral, no id), as one write.

        The same batch object is given to many streams in turn, so what is made of it may be shared.
        """

    @abstractmethod
    def control(self, event: str, payload: Mapping[str, object]) -> None:
        """Write a control event (SPEC §2)."""

    @abstractmethod
    def stand(self, cursor: str, *, heartbeat: bool) -> None:
        """Write an id-only frame: the stream stands here. As a heartbeat, a comment goes before it."""

    @abstractmethod
    def close(self, reason: str, *, reconnect: bool, retry_ms: int | None = None) -> None:
        """Write `sse.close` as the last frame and end the stream; a blocked one is cut off at once instead.

        `retry_ms` tells the reader how long to wait before it returns.
        """
