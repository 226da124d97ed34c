"""The streams of a hub that makes no mistakes (`ideal`): a stream is given what it is owed, the most urgent first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.chaos.record import (
    BROADCAST,
    FOREVER,
    Attempt,
    Connection,
    End,
    FramePlace,
    Reader,
    Received,
    Record,
    Send,
)
from tests.support.http import JsonObject

STEP = 0.01  # of the clock, with everything that happens
PRIORITIES = ("normal", "high", "urgent")


@dataclass(frozen=True)
class Kept:
    """A message of the log."""

    seq: int
    send: Send
    event_id: str
    created_at: float
    expire_at: float


@dataclass(eq=False)
class IdealStream:
    """One connection. While it is `stalled` nothing is given; what waits then is given in the order of priority."""

    connection: Connection
    start: tuple[int, int, int]
    groups_after: int
    given: set[int]
    had: frozenset[int] = frozenset()  # of what is addressed to its client, before its first connection
    stalled: bool = False
    passing: list[Send] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.connection.ended_at is None


class IdealStreams:
    def __init__(self) -> None:
        self.record = Record(bus=True)
        self.now = 1_000_000.0
        self.kept: list[Kept] = []
        self.streams: list[IdealStream] = []
        self.members: dict[tuple[str, str], tuple[int, list[str] | None]] = {}
        self.read: set[tuple[str, int]] = set()
        self._furthest: dict[str, list[int]] = {}
        self._given_to_client: dict[str, set[int]] = {}
        self.states: dict[str, IdealStream] = {}
        self.removed: set[int] = set()

    def step(self, seconds: float = STEP) -> float:
        self.now += seconds
        return self.now

    # Sending

    def send(
        self,
        to: tuple[str, str] = BROADCAST,
        *,
        persist: bool = True,
        priority: int = 0,
        ttl: float | None = None,
        event_type: str = "note",
        event_id: str | None = None,
        node: str = "one",
        answered: bool = True,
        committed: bool = True,
    ) -> Send:
        n = len(self.record.sends) + 1
        send = Send(
            n=n, event_type=event_type, to=to, batch=n, persist=persist, priority=priority, ttl=ttl, event_id=event_id
        )
        self.record.sends.append(send)
        return self.send_again(send, node=node, answered=answered, committed=committed)

    def send_again(self, send: Send, *, node: str = "one", answered: bool = True, committed: bool = True) -> Send:
        attempt = Attempt(node=node, at=self.step())
        send.attempts.append(attempt)
        self.step()
        known = next((kept for kept in self.kept if kept.send is send), None)
        kept = known
        if send.persist and kept is None and committed:
            expire_at = self.now + send.ttl if send.ttl is not None else FOREVER
            kept = Kept(len(self.kept) + 1, send, send.event_id or f"id-{send.n}", self.now, expire_at)
            self.kept.append(kept)
        if not send.persist:
            for stream in self.streams:
                if stream.open and not stream.stalled and self._admits(stream, send, FOREVER):
                    stream.passing.append(send)
        self.flush()
        attempt.ended_at = self.step()
        if answered:
            attempt.status = 201 if known is None else 200
            expire_at = kept.expire_at if kept else (self.now + send.ttl if send.ttl is not None else FOREVER)
            attempt.answer = {
                "event_id": kept.event_id if kept else send.event_id or f"id-{send.n}",
                "seq": kept.seq if kept else None,
                "persisted": send.persist,
                "expire_at": None if expire_at == FOREVER else datetime.fromtimestamp(expire_at, UTC).isoformat(),
            }
        return send

    def remove_expired(self) -> None:
        self.removed |= {kept.seq for kept in self.kept if kept.expire_at <= self.now}

    # Reading

    def open(
        self,
        reader: str,
        *,
        user: str | None = None,
        client: str | None = None,
        groups: Iterable[str] = (),
        event_types: list[str] | None = None,
        replay: str = "pending",
        unread: bool = False,
        node: str = "one",
        cursor: str | None = None,
        resume: FramePlace | None = None,
        stays: bool = True,
    ) -> IdealStream:
        """A stream; with `resume` it resumes from that frame. A `cursor` that the hub does not know is told so."""
        if not any(known.name == reader for known in self.record.readers):
            self.record.readers.append(Reader(name=reader, stays=stays))
        if resume is not None:
            cursor = self.record.connections[resume.connection].frames[resume.frame].id
        connection = Connection(
            number=len(self.record.connections),
            reader=reader,
            node=node,
            asked_at=self.step(),
            user_id=user,
            client_id=client,
            groups=list(groups),
            event_types=event_types,
            replay=replay,
            unread=unread,
            cursor=cursor,
            resumed_from=resume,
            status=200,
        )
        self.record.connections.append(connection)
        state = None if cursor is None else self.states.get(cursor)
        if state is not None:
            stream = IdealStream(connection, state.start, 0, set(state.given), state.had)
        else:
            head = len(self.kept)
            furthest = self._furthest.get(user or "", [0, 0, 0])
            start = (0, 0, 0) if replay == "unread" else (furthest[0], furthest[1], furthest[2])
            if replay == "none" or user is None:
                start = (head, head, head)
            had = frozenset(self._given_to_client.get(client or "", ()))
            stream = IdealStream(connection, start, head, set(), had)
        self.streams.append(stream)
        self._frame(stream, retry=2000)
        self._frame(stream, id=self._cursor(stream, max(stream.start)))
        self.control(
            stream,
            "sse.open",
            {
                "client_id": client or f"generated-{connection.number}",
                "resumed": state is not None,
                "complete": cursor is None or state is not None,
                "unread": None if user is None else self.unread(user),
            },
        )
        if cursor is not None and state is None:
            self.control(stream, "sse.reset", {"reason": "unknown"})
        self.flush()
        return stream

    def close(self, stream: IdealStream, end: End = "left") -> FramePlace:
        """End a connection; the place of its last frame that has an id."""
        if end == "ended":
            self.control(stream, "sse.close", {"reason": "shutdown", "reconnect": True})
        stream.connection.ended_at = self.step()
        stream.connection.end = end
        return self.last_place(stream)

    @staticmethod
    def last_place(stream: IdealStream) -> FramePlace:
        connection = stream.connection
        return FramePlace(
            connection.number, max(i for i, frame in enumerate(connection.frames) if frame.id is not None)
        )

    def beat(self) -> None:
        for stream in self.streams:
            if stream.open and not stream.stalled:
                self._frame(stream, id=self._cursor(stream, len(self.kept)))

    def flush(self) -> None:
        """Give every stream that takes it what it is owed, the most urgent first."""
        for stream in self.streams:
            if not stream.open or stream.stalled:
                continue
            owed = [kept for kept in self.kept if self._owes(stream, kept)]
            for kept in sorted(owed, key=lambda kept: (-kept.send.priority, kept.seq)):
                stream.given.add(kept.seq)
                self._given(stream, kept)
                self._frame(
                    stream,
                    event=kept.send.event_type,
                    id=self._cursor(stream, kept.seq),
                    data=kept.send.data,
                    has_data=True,
                )
            for send in sorted(stream.passing, key=lambda send: -send.priority):
                self._frame(stream, event=send.event_type, data=send.data, has_data=True)
            stream.passing.clear()
            # What was not its own is passed over for good, whatever it will be a member of.
            head = len(self.kept)
            stream.start = (head, head, head)

    def _given(self, stream: IdealStream, kept: Kept) -> None:
        user, priority = stream.connection.user_id, kept.send.priority
        if user is not None and stream.connection.event_types is None:
            furthest = self._furthest.setdefault(user, [0, 0, 0])
            furthest[priority] = max(furthest[priority], kept.seq)
        if kept.send.to[0] == "client":
            self._given_to_client.setdefault(kept.send.to[1], set()).add(kept.seq)

    def _owes(self, stream: IdealStream, kept: Kept) -> bool:
        user = stream.connection.user_id
        created_before = kept.created_at < stream.connection.asked_at  # so it comes by a replay
        return (
            kept.seq not in stream.given | stream.had
            and (kept.seq > stream.start[kept.send.priority] or kept.send.to[0] == "client")
            and kept.expire_at > self.now
            and not (created_before and (user, kept.seq) in self.read)
            and self._admits(stream, kept.send, kept.seq)
        )

    def _admits(self, stream: IdealStream, send: Send, seq: float) -> bool:
        connection, (kind, identity) = stream.connection, send.to
        if connection.event_types is not None and send.event_type not in connection.event_types:
            return False
        if kind == "group":
            by_url = identity in connection.groups and seq > stream.groups_after
            return by_url or self._is_member(connection.user_id, identity, send, seq)
        return kind == "broadcast" or identity == {"user": connection.user_id, "client": connection.client_id}[kind]

    def _is_member(self, user: str | None, group: str, send: Send, seq: float) -> bool:
        after, types = self.members.get((user or "", group), (FOREVER, None))
        return seq > after and (types is None or send.event_type in types)

    def _cursor(self, stream: IdealStream, seq: int) -> str:
        """The id for what the stream has been given now: always the same for the same."""
        reader = [known.name for known in self.record.readers].index(stream.connection.reader)
        for cursor, state in self.states.items():
            same = (state.start, state.given, state.had) == (stream.start, stream.given, stream.had)
            if same and cursor.startswith(f"{seq}-{reader}."):
                return cursor
        cursor = f"{seq}-{reader}.{len(self.states)}"
        self.states[cursor] = IdealStream(stream.connection, stream.start, 0, set(stream.given), stream.had)
        return cursor

    def control(self, stream: IdealStream, event: str, data: JsonObject) -> None:
        self._frame(stream, event=event, data=data, has_data=True)

    def _frame(self, stream: IdealStream, **fields: object) -> None:
        waited = self.now
        frame = Received(at=self.step(), not_before=waited)
        for name, value in fields.items():
            setattr(frame, name, value)
        stream.connection.frames.append(frame)

    def visible(self, user: str) -> list[Kept]:
        return [
            kept
            for kept in self.kept
            if kept.expire_at > self.now
            and (
                kept.send.to in (BROADCAST, ("user", user))
                or (kept.send.to[0] == "group" and self._is_member(user, kept.send.to[1], kept.send, kept.seq))
            )
        ]

    def unread(self, user: str) -> JsonObject:
        sends = [kept.send for kept in self.visible(user) if (user, kept.seq) not in self.read]
        return {
            "user_id": user,
            "total": len(sends),
            "by_priority": dict.fromkeys(PRIORITIES, 0) | Counter(PRIORITIES[send.priority] for send in sends),
            "by_group": dict(Counter(send.to[1] for send in sends if send.to[0] == "group")),
            "by_event_type": dict(Counter(send.event_type for send in sends)),
        }
