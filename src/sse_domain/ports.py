"""Every port, on one page. The docstrings are the contracts; one suite holds every adapter to them.

Time always comes in as an argument (aware UTC): no adapter reads a clock. Whatever a store can't do because its
server does not answer raises StoreUnavailable. All methods are safe to call concurrently from one event loop.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sse_domain.cursor import Positions
from sse_domain.inbox import Delivered, InboxEntry, InboxQuery, ReadSelection, UnreadCounts, UnreadStamp
from sse_domain.log import Commit, Entry
from sse_domain.message import Message, Receiver
from sse_domain.notes import Note
from sse_domain.presence import Audiences, ClientInfo, Members, NodeReport
from sse_domain.replay import LogHead, ReadRequest, ReplayPage
from sse_domain.subscription import Audience, Joined, Membership, Subscription


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
    """What users have been given and have read (SPEC §4).

    Where it is asked about several users or readers at once, about a thousand at most, they are answered for from one
    state of the store, and it costs little more than about one.
    """

    @abstractmethod
    async def messages(self, query: InboxQuery, delivered: Positions, now: datetime) -> list[InboxEntry]:
        """The first visible messages that `query.admits`, by seq in its direction: as many as `page_length` allows with
        `query.limit` and MAX_PAGE_BYTES.

        `delivered` is what the user's unfiltered streams were given: it tells pending from sent.
        """

    @abstractmethod
    async def unread(self, user_ids: Sequence[str], now: datetime) -> dict[str, UnreadCounts]:
        """Each user's counts over every visible message that is not read, with the next expiry among them."""

    @abstractmethod
    async def oldest_unread(self, user_id: str, now: datetime) -> tuple[int | None, ...]:
        """Per priority, the lowest seq of a visible message that is not read, or None."""

    @abstractmethod
    async def mark_read(self, user_id: str, selection: ReadSelection, now: datetime) -> int:
        """Mark the selected messages that are visible now; how many were not marked before.

        Idempotent and commutative; a mark is never taken back. Row status rises to READ for messages to the user alone.
        """

    @abstractmethod
    async def delivered(self, readers: Collection[Receiver]) -> dict[Receiver, Delivered]:
        """What these users and clients were given as last recorded; one that was never seen is absent."""

    @abstractmethod
    async def record_delivered(self, records: Mapping[Receiver, Delivered]) -> None:
        """Merge what readers were given: positions and seen_at only move forward. Row status of messages addressed to
        exactly that reader, at or below its positions, rises to SENT."""


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
    async def of_users(self, user_ids: Sequence[str]) -> dict[str, list[Subscription]]:
        """Each user's standing subscriptions, by group name in code point order; about a thousand users at most, from
        one state of the store."""

    @abstractmethod
    async def of_group(self, group: str, limit: int) -> list[Subscription]:
        """The group's standing subscriptions, by user id in code point order, at most `limit`."""


class Retention(Protocol):
    """What the janitor removes, in short transactions, so that a run never holds up sends. What goes for its age raises
    the log's `removals` in the same transaction (see UnreadStamp)."""

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

    @abstractmethod
    async def forget_markings(self, unmarked_since: datetime, limit: int) -> int:
        """Forget up to `limit` users' last markings made before `unmarked_since`; how many. The marks stay."""


class StoreTime(Protocol):
    """The clock of a store that several nodes share, and that all of them go by (SPEC §3.7)."""

    @abstractmethod
    async def now(self) -> datetime | None:
        """Its time, aware UTC; None for a store that has no clock but its node's own."""


class UnreadStamps(Protocol):
    """Tells cheaply whether unread counts may have changed, whichever node changed them."""

    @abstractmethod
    async def stamps(self, user_ids: Sequence[str]) -> dict[str, UnreadStamp]:
        """Each user's stamp, about a thousand users at most, from one state of the store. Costs no more for many unread
        messages than for few."""

    @abstractmethod
    async def marked_since(self, since: datetime, limit: int) -> list[str]:
        """Users whose last marking was at or after `since`, the store's time, the latest first, at most `limit`."""


class UnreadCache(Protocol):
    """Unread counts as they were last counted. It may forget anything, and knows nothing while it can't be reached."""

    @abstractmethod
    async def get(self, user_ids: Sequence[str]) -> dict[str, tuple[UnreadStamp, UnreadCounts]]:
        """What was kept for these users, unchanged, `next_expiry` included; who is unknown is absent."""

    @abstractmethod
    async def put(self, counted: Mapping[str, tuple[UnreadStamp, UnreadCounts]]) -> None:
        """Keep these counts, each with the stamp that its user had before they were counted."""


class Bus(Protocol):
    """Carries notes from each node of a hub to all the others, on what `sse_domain.notes` says of them."""

    @abstractmethod
    def tell(self, note: Note) -> None:
        """Send a note to every other node, soon. Never waits and never raises: what can't be sent is dropped.

        Notes of one node that arrive do so in the order in which they were told, as long as nothing goes wrong. A
        Committed that is too large for the bus goes without its messages.
        """

    @abstractmethod
    async def start(self, hear: Callable[[str, Note], None], missed: Callable[[], None]) -> None:
        """From now on call `hear` on this event loop for each note of another node, with that one's id; and `missed`
        whenever notes may have been lost unheard, after the bus can be heard again.

        Returns at once, and tries until the bus can be reached. One that is silently dead is replaced within seconds.
        """

    @abstractmethod
    def health(self) -> Mapping[str, object]:
        """`kind` and `healthy`: whether what is told now is likely to be heard."""

    @abstractmethod
    async def close(self) -> None:
        """Send what was told, as far as that takes no longer than a moment, and stop. Idempotent."""


class Presence(Protocol):
    """Who is connected to the nodes of a hub. What a node says of itself holds for a lease and ends with it.

    Raises NodesUnavailable when it can't be reached. Answers are of nodes whose lease has not ended, and leave out
    the node that asks: what it has itself it knows better.
    """

    @abstractmethod
    async def renew(self, report: NodeReport, lease_seconds: float) -> bool:
        """This node lives and has this to say of itself, for as long from now, by the clock of whoever keeps it.

        False: none of its connections is known (any more), so say them all again with `change`. A lease of 0 seconds
        ends at once, and all its connections with it.
        """

    @abstractmethod
    async def change(self, opened: Sequence[ClientInfo], closed: Sequence[str]) -> None:
        """Connections of this node that are new, or have other groups than before, and connection ids of those that are
        gone. Idempotent. Without a standing lease nothing is kept of it."""

    @abstractmethod
    async def nodes(self) -> list[NodeReport]:
        """The other nodes, by node id."""

    @abstractmethod
    async def users(self, user_ids: Sequence[str]) -> dict[str, int]:
        """How many connections each of these users has to other nodes; who has none is absent."""

    @abstractmethod
    async def group(self, group: str, limit: int) -> Members:
        """Who is connected to a group on other nodes, at most `limit` of each kind."""

    @abstractmethod
    async def clients(self, user_id: str | None, limit: int) -> list[ClientInfo]:
        """The oldest connections to other nodes, the oldest first, of one user or of all, at most `limit`."""

    @abstractmethod
    async def audiences(self, clients: Collection[str], users: Collection[str], groups: Collection[str]) -> Audiences:
        """How many there are, those of this node included, which it names here; of very many, some seconds ago."""
