"""The record of a run: all that its clients sent, asked, were answered and were given, and when.

Times are seconds since the epoch by one clock that only rises, the recorder's. Each is noted on the side that makes a
conclusion weaker: a request's before its first byte is sent, an answer's and a frame's after its last byte was read. So
whatever the record says came before something else, did. Nothing is judged here.

`checker` reads it, later or elsewhere: it is kept as JSON.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from tests.support.http import JsonObject

Priority = int
BROADCAST: tuple[str, str] = ("broadcast", "")
FOREVER = float("inf")

End = Literal["left", "finished", "ended", "cut", "refused", "silent"]
"""How a connection ended: the reader left, or left because it had everything; the server ended the response, or cut it
off; no response came; nothing at all came for longer than heartbeats allow."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A request to one node. `status` None: it was never answered, and `ended_at` is when that was clear.

    `answer` is the JSON of the answer; for one message of a batch its own result, and the status of its own problem.
    """

    node: str
    at: float
    ended_at: float | None = None
    status: int | None = None
    answer: JsonObject | None = None

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(slots=True, kw_only=True)
class Request:
    """Something that a client asked for until it was answered, or gave up."""

    attempts: list[Attempt] = field(default_factory=list)

    @property
    def at(self) -> float:
        """Before this it can't have had any effect."""
        return self.attempts[0].at

    @property
    def accepted(self) -> Attempt | None:
        """The first attempt that was answered with success."""
        return next((attempt for attempt in self.attempts if attempt.accepted), None)

    @property
    def answered_at(self) -> float:
        """From here on it is known to have been done; infinity when it never is."""
        accepted = self.accepted
        return FOREVER if accepted is None or accepted.ended_at is None else accepted.ended_at


@dataclass(slots=True, kw_only=True)
class Send(Request):
    """A message as its publisher means it; `n`, which its data carries, is different for each of a run.

    `to` is the kind of receiver and its id. What was sent in one call has one `batch`, and stands in the record in the
    order of that call; `single` is a call of its own.
    """

    n: int
    event_type: str
    to: tuple[str, str]
    batch: int
    single: bool = True
    persist: bool = True
    priority: Priority = 0
    ttl: float | None = None
    event_id: str | None = None
    bulk: int = 0

    @property
    def data(self) -> JsonObject:
        """Its data as the record has it, wherever it comes back: of `bulk` no more than its length."""
        return {"n": self.n, "bulk": self.bulk} if self.bulk else {"n": self.n}


@dataclass(slots=True, kw_only=True)
class Received:
    """A frame, in full. `not_before`: then the reader waited and had nothing unread, so it was written later than that;
    for a slow reader that is known of no frame, and it is the beginning of the connection.

    `data` is the JSON of its data; `has_data` tells JSON's null from a frame without.
    """

    at: float
    not_before: float
    event: str = ""
    id: str | None = None
    data: object = None
    has_data: bool = False
    retry: int | None = None

    @property
    def is_message(self) -> bool:
        return self.has_data and not self.event.startswith("sse.")

    @property
    def n(self) -> int:
        """The message that it carries, by its publisher's number; -1 for something that nobody sends."""
        n = self.data.get("n") if isinstance(self.data, dict) else None
        return n if isinstance(n, int) else -1


class FramePlace(NamedTuple):
    """A frame's place in the record: connection, and frame of that connection."""

    connection: int
    frame: int


@dataclass(slots=True, kw_only=True)
class Connection:
    """One stream: what was asked, and all that came.

    `cursor` is what was presented. `resumed_from` is the frame that it was the id of; None if it is no id of a frame
    that this reader was given. `number` is its place among the record's connections.
    """

    number: int
    reader: str
    node: str
    asked_at: float
    user_id: str | None = None
    client_id: str | None = None
    groups: list[str] = field(default_factory=list)
    event_types: list[str] | None = None
    replay: str = "pending"
    since: float | None = None
    unread: bool = False
    cursor: str | None = None
    resumed_from: FramePlace | None = None
    status: int | None = None
    frames: list[Received] = field(default_factory=list)
    ended_at: float | None = None
    end: End = "left"

    @property
    def until(self) -> float:
        """When it had ended, as far as the reader knows; infinity while it has not."""
        return FOREVER if self.ended_at is None else self.ended_at


@dataclass(slots=True, kw_only=True)
class Reader:
    """One client. One that `stays` reads, over as many connections as it takes, until it has all that is its own."""

    name: str
    stays: bool = True


@dataclass(slots=True, kw_only=True)
class MembershipChange(Request):
    """A user joins a group, or leaves it. Those of one user and group are asked for one after the other."""

    user_id: str
    group: str
    joins: bool
    event_types: list[str] | None = None


@dataclass(slots=True, kw_only=True)
class Mark(Request):
    """A user marks messages as read: these, or all up to that event_id or to that frame's id, or simply all."""

    user_id: str
    event_ids: list[str] | None = None
    up_to: str | None = None
    up_to_frame: FramePlace | None = None


@dataclass(slots=True, kw_only=True)
class Count:
    """A user's unread counts, as they were told at some moment between `at` and `ended_at`."""

    user_id: str
    node: str
    at: float
    ended_at: float
    counts: JsonObject


@dataclass(slots=True, kw_only=True)
class Listing:
    """All of a user's messages by GET /messages, over all pages, asked for between `at` and `ended_at`."""

    user_id: str
    node: str
    at: float
    ended_at: float
    messages: list[JsonObject]


@dataclass(slots=True, kw_only=True)
class Disconnect(Request):
    """A command that ends a client's streams."""

    client_id: str
    reconnect: bool


@dataclass(slots=True, kw_only=True)
class Fault:
    """Harm that was done. While it lasts, and for a moment after, these nodes (None: all) can't be held to promises
    that have a time in them, as they can't learn of what happens elsewhere. One of the bus alone leaves them the
    database to learn from."""

    name: str
    bus: bool = False
    begun_at: float
    ended_at: float | None = None
    nodes: list[str] | None = None

    @property
    def until(self) -> float:
        return FOREVER if self.ended_at is None else self.ended_at


@dataclass(slots=True, kw_only=True)
class Row:
    """A message as the database has it."""

    seq: int
    event_id: str
    n: int
    event_type: str
    to: tuple[str, str]
    priority: Priority
    status: int
    created_at: float
    expire_at: float | None


@dataclass(slots=True, kw_only=True)
class Log:
    """What the database had at the end: `joined` by user and group, `read` by user and seq."""

    last_seq: int
    purged_through: int = 0
    rows: list[Row] = field(default_factory=list)
    joined: list[tuple[str, str, int]] = field(default_factory=list)
    read: list[tuple[str, int]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Record:
    """One run. `one_process` are the nodes that are one process each, and so take what is sent to them in one order.

    `bus`: whether nodes tell each other of what is nowhere in the database.
    """

    seed: int = 0
    bus: bool = False
    one_process: bool = True
    readers: list[Reader] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    changes: list[MembershipChange] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)
    disconnects: list[Disconnect] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    log: Log = field(default_factory=lambda: Log(last_seq=0))

    def save(self, path: Path) -> None:
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, path: Path) -> Record:
        return msgspec.json.decode(path.read_bytes(), type=cls)


class RecorderClock:
    """Seconds since the epoch, by this machine's clock as it was at the beginning: from there on they only rise."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        return self.at(time.monotonic())

    def at(self, monotonic: float) -> float:
        return self._offset + monotonic
