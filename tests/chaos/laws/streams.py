"""Each connection as its reader saw it: where it began, what it had been given before, and what came, in order.

Cursors are opaque here. That a connection resumes from a frame means that it begins with all that its reader had been
given up to and including that frame, and with nothing else (SPEC §3.3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from tests.chaos.laws.evidence import CLOCK_SECONDS, Evidence, Message, most
from tests.chaos.laws.marks import Marks
from tests.chaos.laws.memberships import Memberships
from tests.chaos.laws.misses import Miss, find_misses
from tests.chaos.record import FOREVER, Connection, Mark, Received, Send


class Gift(NamedTuple):
    """A persisted message with its frame, and the frame's place in the connection."""

    place: int
    received: Received
    message: Message


class Passed(NamedTuple):
    """An ephemeral message with its frame."""

    place: int
    received: Received
    send: Send


class InInbox(NamedTuple):
    """A message that a user may not have read between the first two times, and surely has not between the other two;
    if it is visible, which for a group's depends on memberships."""

    message: Message
    may_from: float
    may_until: float
    must_from: float
    must_until: float


@dataclass(slots=True, eq=False)
class Stream:
    """`before` are the seqs that its reader had been given when it began; `origin` is the connection on which that
    began, this one unless it has resumed. One with a `foreign` cursor, of which it is not known what it stands for,
    owes nothing that can be told."""

    connection: Connection
    origin: Stream | None = None
    before: frozenset[int] = frozenset()
    foreign: bool = False
    gifts: list[Gift] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    opened_at: float = FOREVER  # by then it was registered: its first frame with an id had come
    opened: dict[str, object] | None = None
    reset: str | None = None

    @property
    def first(self) -> Stream:
        return self if self.origin is None else self.origin

    @property
    def client_id(self) -> str | None:
        """The one that was asked for, or else was given."""
        if self.connection.client_id is not None:
            return self.connection.client_id
        given = None if self.opened is None else self.opened.get("client_id")
        return given if isinstance(given, str) else None

    def given_up_to(self, place: int) -> frozenset[int]:
        return self.before.union(gift.message.seq for gift in self.gifts if gift.place <= place)

    def __str__(self) -> str:
        return f"{self.connection.reader}, connection {self.connection.number} to {self.connection.node}"


class Streams:
    """All connections of a record, and what each of them may and must be given."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.memberships = Memberships(evidence)
        self.all: list[Stream] = []
        for connection in evidence.record.connections:
            self.all.append(self._walk(connection))
        self.marks = Marks(evidence, self.memberships, self._given_by)
        self._candidates: dict[object, list[Message]] = {}
        self._inboxes: dict[str, list[InInbox]] = {}

    def _given_by(self, mark: Mark) -> frozenset[int]:
        assert mark.up_to_frame is not None
        return self.all[mark.up_to_frame.connection].given_up_to(mark.up_to_frame.frame)

    def _walk(self, connection: Connection) -> Stream:
        stream = Stream(connection)
        for place, received in enumerate(connection.frames):
            if received.id is not None:
                stream.opened_at = min(stream.opened_at, received.at)
            if received.event == "sse.open" and isinstance(received.data, dict):
                stream.opened = received.data
            elif received.event == "sse.reset" and isinstance(received.data, dict):
                stream.reset = str(received.data.get("reason"))
            elif received.is_message:
                message = self.evidence.by_n.get(received.n)
                if message is not None:
                    stream.gifts.append(Gift(place, received, message))
                elif received.n in self.evidence.sends:
                    stream.passed.append(Passed(place, received, self.evidence.sends[received.n]))
        if connection.cursor is not None and stream.reset is None:
            if connection.resumed_from is None:
                stream.foreign = True
            else:
                earlier = self.all[connection.resumed_from.connection]
                stream.origin = earlier.first
                stream.foreign = earlier.foreign
                stream.before = earlier.given_up_to(connection.resumed_from.frame)
        return stream

    @cached_property
    def _of_reader(self) -> dict[tuple[str, str], list[Connection]]:
        """Unfiltered connections by the user, and by the named client, that they stand for."""
        found: dict[tuple[str, str], list[Connection]] = defaultdict(list)
        for connection in self.evidence.record.connections:
            if connection.event_types is None:
                if connection.user_id is not None:
                    found["user", connection.user_id].append(connection)
                if connection.client_id is not None:
                    found["client", connection.client_id].append(connection)
        return found

    def earlier(self, stream: Stream, kind: str, identity: str) -> list[Connection]:
        """Other connections of this user or client that may have been given something before this one was."""
        theirs = self._of_reader.get((kind, identity), ())
        return [c for c in theirs if c is not stream.connection and c.asked_at < stream.opened_at]

    # What is a stream's own

    def audience(self, stream: Stream) -> list[Message]:
        """The persisted messages that may ever be for it, by seq."""
        connection = stream.connection
        groups = frozenset(connection.groups)
        key = (connection.user_id, stream.client_id, groups, tuple(connection.event_types or ("*",)))
        if key not in self._candidates:
            self._candidates[key] = [m for m in self.evidence.messages if self._concerns(stream, m.send)]
        return self._candidates[key]

    def inbox(self, user_id: str) -> list[InInbox]:
        """The persisted messages that may ever be visible to a user, by seq (SPEC §4)."""
        if user_id not in self._inboxes:
            self._inboxes[user_id] = [
                InInbox(
                    message,
                    message.sent_at,
                    min(self.marks.read_at(user_id, message), message.expires_by + CLOCK_SECONDS),
                    message.answered_at,
                    min(self.marks.may_be_read_from(user_id, message), message.expires_from - CLOCK_SECONDS),
                )
                for message in self.evidence.messages
                if self.marks.may_be_visible(user_id, message, 0.0)
            ]
        return self._inboxes[user_id]

    def _concerns(self, stream: Stream, send: Send) -> bool:
        types, (kind, identity) = stream.connection.event_types, send.to
        if types is not None and send.event_type not in types:
            return False
        match kind:
            case "user":
                return identity == stream.connection.user_id
            case "client":
                return identity == stream.client_id
            case "group":
                user_id = stream.connection.user_id
                member = self.memberships.of(user_id, identity).changes
                return identity in stream.connection.groups or any(change.joins for change in member)
            case _:
                return True

    def may_give(self, stream: Stream, message: Message, received: Received) -> bool:
        """Whether a persisted message may be given with this frame, by whom it is for (SPEC §3.6)."""
        if not self._concerns(stream, message.send):
            return False
        kind, identity = message.send.to
        if kind != "group":
            return True
        connection = stream.connection
        if identity in connection.groups:
            # With a cursor the right to join is the right to what is kept.
            resumed = connection.since is not None or (connection.cursor is not None and stream.reset is None)
            if resumed or self.evidence.learnt_by(connection.node, message.answered_at) >= connection.asked_at:
                return True
        membership = self.memberships.of(connection.user_id, identity)
        return membership.may_admit(message, received.not_before, connection.node)

    def may_pass(self, stream: Stream, send: Send, received: Received) -> bool:
        """The same for an ephemeral message."""
        if not self._concerns(stream, send):
            return False
        kind, identity = send.to
        if kind != "group" or identity in stream.connection.groups:
            return True
        membership = self.memberships.of(stream.connection.user_id, identity)
        return membership.may_admit_passing(send, received.not_before, stream.connection.node)

    def must_give(self, stream: Stream, message: Message, at: float) -> bool:
        """Whether a persisted message of its audience is owed to a stream that was given something later by then, or
        that was given all that it will be: not read, expired or revoked meanwhile, and after where the stream began."""
        user_id = stream.connection.user_id
        return (
            not stream.foreign
            and not message.may_be_expired(at)
            and self._must_be_its_own(stream, message, at)
            and not self.marks.may_be_read(user_id, message, at)
        )

    def _must_be_its_own(self, stream: Stream, message: Message, at: float) -> bool:
        kind, identity = message.send.to
        start = self._start(stream.first)
        if start.created_from is not None:
            begun = message.created_at is not None and message.created_at >= start.created_from
        else:
            begun = message.sent_at >= (start.of_client if kind == "client" else start.of_user)
        if kind != "group":
            return begun
        if identity in stream.connection.groups and message.sent_at >= stream.first.opened_at:
            return True
        return begun and self.memberships.of(stream.connection.user_id, identity).must_admit(message, at)

    def _start(self, stream: Stream) -> _Start:
        if stream not in self._starts:
            self._starts[stream] = self._find_start(stream)
        return self._starts[stream]

    @cached_property
    def _starts(self) -> dict[Stream, _Start]:
        return {}

    def _find_start(self, stream: Stream) -> _Start:
        connection = stream.connection
        if connection.since is not None:
            return _Start(0.0, 0.0, connection.since)
        of_user = of_client = stream.opened_at
        if connection.replay != "none":
            if connection.client_id is not None:
                of_client = self._owed_since(stream, "client", connection.client_id)
            if connection.user_id is not None:
                of_user = self._owed_since(stream, "user", connection.user_id)
                if connection.replay == "unread":
                    of_user = 0.0
        return _Start(of_user, of_client, None)

    def _owed_since(self, stream: Stream, kind: str, identity: str) -> float:
        """What was sent after this was surely given to no other stream of this reader before this one began."""
        others = self.earlier(stream, kind, identity)
        gone = (self.evidence.learnt_by(other.node, other.until) for other in others)
        return min(most(gone, 0.0), stream.opened_at)

    @cached_property
    def misses(self) -> list[Miss]:
        """What was owed and not given."""
        return list(find_misses(self))

    def __iter__(self) -> Iterator[Stream]:
        return iter(self.all)


class _Start(NamedTuple):
    """From which times of sending on a stream that begins anew is owed what is for its user and its client; or from
    which time of creation on."""

    of_user: float
    of_client: float
    created_from: float | None
