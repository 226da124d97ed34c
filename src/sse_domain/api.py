"""The driving port: what the hub does for its callers, over HTTP and in-process alike, and the values it answers with.

Every method raises InvalidInput for bad input and Unavailable when the store does not answer or the node is draining;
then nothing was changed, but for a send, where repeating it with the same event_id settles what happened.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, Self

from sse_domain.errors import SseError
from sse_domain.inbox import InboxEntry, InboxQuery, UnreadCounts
from sse_domain.message import Draft, Message
from sse_domain.presence import ClientInfo, NodeReport
from sse_domain.replay import StreamRequest
from sse_domain.subscription import Subscription


class Receipt(NamedTuple):
    """The answer to a send. `seq` is None for an ephemeral message.

    `connections` counts this node's streams that were handed the message. `repeated`: this event_id was sent before
    with the same content; nothing was sent now, and the rest is the first answer's identity.
    """

    event_id: str
    seq: int | None
    persisted: bool
    expire_at: datetime | None
    connections: int
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePage:
    """One page of a listing. `next` continues it as `after`; None on the last page."""

    entries: Sequence[InboxEntry]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedRead:
    """`marked` messages were newly marked; `unread` are the counts after."""

    marked: int
    unread: UnreadCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInfo:
    """Who is in a group: the clients and users connected to it now, and its durable subscribers (user ids)."""

    group: str
    clients: Sequence[str]
    users: Sequence[str]
    subscribers: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceInfo:
    """Whether a user has a stream open. `last_seen` is now for one who has, None for one who never had."""

    user_id: str
    online: bool
    connections: int
    last_seen: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """The hub at a glance: `version`, `node_id` and `uptime_seconds` are those of the node that answers, the rest is of
    all nodes together, each of which is in `nodes`.

    Messages are counted since their nodes' start; `backlog` counts those that wait to be committed. `unread_cache` is
    None for a hub without a cache.
    """

    version: str
    node_id: str
    uptime_seconds: float
    clients: int
    connections: int
    users: int
    groups: int
    accepted: int
    delivered: int
    replayed: int
    dropped: int
    backlog: int
    nodes: Sequence[NodeReport]
    storage: Mapping[str, object]
    bus: Mapping[str, object]
    unread_cache: Mapping[str, int] | None


class FrameWriter(Protocol):
    """Where one stream's frames go: a socket, or an in-process listener. Synchronous: no call ever waits.

    While `blocked`, the reader has not taken what was written before: nothing but `close` may be called until the
    writer calls `drained`, which the hub sets when the stream opens. It becomes so only in a call that writes. To a
    reader that is gone nothing is written.
    """

    blocked: bool
    drained: Callable[[], None]

    @abstractmethod
    def begin(self, cursor: str, opened: Mapping[str, object], reset: str | None) -> None:
        """Write a stream's first frames, as one write: the id-only frame of where it starts, `sse.open`, and unless the
        reason for it is None, `sse.reset`.
        """

    @abstractmethod
    def give(self, batch: Sequence[tuple[Message, str | None]]) -> None:
        """Write messages, in order, each with its cursor (None: ephemeral, no id), as one write.

        The same batch object is given to many streams in turn, so what is made of it may be shared.
        """

    @classmethod
    def give_all(
        cls, writers: Sequence[Self], batch: Sequence[tuple[Message, str | None]]
    ) -> Iterator[tuple[Self, Exception | None]]:
        """`give` to each of these, thousands perhaps. Tells of each that failed, with its error, and of each that may
        be blocked now; when nothing more is told, all others have been given the batch. Raises nothing.
        """
        for writer in writers:
            try:
                writer.give(batch)
            except Exception as error:
                yield writer, error
            else:
                if writer.blocked:
                    yield writer, None

    @abstractmethod
    def control(self, event: str, payload: Mapping[str, object]) -> None:
        """Write a control event (SPEC §2)."""

    @abstractmethod
    def beat(self, cursor: str) -> None:
        """Write a heartbeat: a comment, and an id-only frame, for the stream stands here."""

    @abstractmethod
    def close(self, reason: str, *, reconnect: bool, retry_ms: int | None = None) -> None:
        """Write `sse.close` as the last frame and end the stream; a blocked one is cut off at once instead.

        `retry_ms` tells the reader how long to wait before it returns.
        """


class OpenStream(Protocol):
    """A stream that the hub feeds until it is left."""

    @abstractmethod
    def leave(self) -> None:
        """The reader is gone, or the stream has ended: forget it. Idempotent."""

    @abstractmethod
    def end(self, reason: str, *, reconnect: bool) -> None:
        """End it from this side, with `sse.close` as its last frame. Idempotent."""


class PushService(Protocol):
    """The hub."""

    @abstractmethod
    async def send(self, draft: Draft) -> Receipt:
        """Send one message. A persisted one is committed on return (SPEC §2). Raises EventIdConflict."""

    @abstractmethod
    async def send_batch(self, drafts: Sequence[Draft]) -> list[Receipt | SseError]:
        """Send up to 1000 messages, in order; each has its own answer, in its own place."""

    @abstractmethod
    async def messages(self, query: InboxQuery, after: str | None = None) -> MessagePage:
        """List what is visible to a user. `after` is an event id, a stream's id or a page's `next`.

        Raises UnknownEventId for an `after` that is none of these.
        """

    @abstractmethod
    async def mark_read(
        self,
        user_id: str,
        *,
        event_ids: Sequence[str] | None = None,
        up_to: str | None = None,
        everything: bool = False,
    ) -> MarkedRead:
        """Mark by exactly one of the three (SPEC §2). Ids that are not visible to the user, or unknown, are ignored."""

    @abstractmethod
    async def unread(self, user_id: str) -> UnreadCounts:
        """The user's unread counts at this instant (SPEC §4)."""

    @abstractmethod
    async def subscribe(
        self, user_id: str, group: str, event_types: Sequence[str] | None = None
    ) -> tuple[Subscription, bool]:
        """Join a group durably, with effect at once on the user's open streams. True: the membership is new."""

    @abstractmethod
    async def unsubscribe(self, user_id: str, group: str) -> bool:
        """Leave a group, with effect at once on the user's open streams; whether there was a membership."""

    @abstractmethod
    async def subscriptions(self, user_id: str) -> list[Subscription]:
        """The user's durable memberships, by group name."""

    @abstractmethod
    def dismissed(self, client_id: str | None, user_id: str | None) -> bool:
        """Whether this client or user was disconnected for good moments ago and is to be answered 204 (SPEC §2)."""

    @abstractmethod
    async def open(self, request: StreamRequest, writer: FrameWriter) -> OpenStream:
        """Open a stream into `writer`: position, `sse.open`, replay, then live. Leave the answer when it ends."""

    @abstractmethod
    async def disconnect(self, client_id: str, *, reconnect: bool) -> int:
        """End the client's streams on every node; how many. Without `reconnect` its next connects are dismissed for
        30 s.

        Raises NodesUnavailable if not every node has said that it did so. It may be repeated.
        """

    @abstractmethod
    async def disconnect_user(self, user_id: str, *, reconnect: bool) -> int:
        """End all streams of a user, likewise."""

    @abstractmethod
    async def group(self, group: str) -> GroupInfo:
        """Who is in a group, at most 1000 of each kind."""

    @abstractmethod
    async def clients(self, user_id: str | None, limit: int) -> list[ClientInfo]:
        """Open connections, oldest first; of one user, or of all."""

    @abstractmethod
    async def online(self, user_ids: Sequence[str]) -> list[PresenceInfo]:
        """Presence and last-seen of these users, in the order asked."""

    @abstractmethod
    async def info(self) -> Info:
        """The node at a glance."""

    @abstractmethod
    async def ready(self) -> bool:
        """Whether this node takes work: not draining, and its store answers."""
