"""A stream as its reader sees it: what is written to it goes to the Witness of the naive model, frame by frame."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from sse_app.connection import Connection
from sse_domain.api import FrameWriter
from sse_domain.cursor import START, Positions, parse_cursor
from sse_domain.message import Message, ReceiverType
from sse_domain.replay import ReplayMode, StreamRequest
from tests.unit.domain.model import Identity, Memberships, Witness, is_expired

if TYPE_CHECKING:
    from tests.unit.app.hub_world import HubWorld
    from tests.unit.app.watched_node import WatchedNode

CURSOR_GRAMMAR = re.compile(r"[0-9A-Za-z._-]{1,64}")  # SPEC §2


class Frame(NamedTuple):
    """A frame that the reader may have been the last to receive: the id it then has, and how many persisted messages
    it had been given by then. `stands` for an id-only one."""

    cursor: str
    persisted_given: int
    stands: bool


class Asked(NamedTuple):
    """How things stood when a stream was asked for: they may move on until it is open."""

    head: int
    seq: int  # the last of the log; the node may not know it yet
    furthest: dict[str, list[int]]  # what readers were given, as far as the node knew
    unread: list[Message]


@dataclass
class OpeningWitness(Witness):
    """Of a stream whose opening took its time: a group of its URL counts from some instant between."""

    asked_at_head: int = 0

    def allows(self, message: Message, memberships: Memberships) -> bool:
        return super().allows(message, memberships) or (
            message.seq is not None
            and message.seq > self.start[message.priority]
            and self.is_audience(message, memberships, url_groups_from=self.asked_at_head)
        )


class WatchedStream(FrameWriter):
    """One connection of a reader. Takes `room` more writes and then blocks; None takes all.

    `witness` is what the model knows of it: from the call on for one that resumes, else from its opening.
    """

    def __init__(
        self,
        world: HubWorld,
        node: WatchedNode,
        identity: Identity,
        request: StreamRequest,
        witness: Witness | None,
        asked: Asked,
    ) -> None:
        self.number = len(world.streams)  # by which sets of connections are ordered, the same on every run
        self.node = node
        self.identity = identity
        self.request = request
        self.witness = witness
        self.frames: list[Frame] = []
        self.opening: asyncio.Task[None] | None = None
        self.connection: Connection | None = None
        self.closed = False  # ended by either side, or never opened
        self.told: object = None  # the unread counts that it was told last
        self.room: int | None = None
        self.blocked = False
        self.drained: Callable[[], None] = lambda: None
        self._world = world
        self._asked = asked

    @property
    def is_open(self) -> bool:
        return bool(self.frames) and not self.closed

    @property
    def connection_id(self) -> str:
        assert self.connection is not None
        return self.connection.connection_id

    @property
    def known(self) -> Witness:
        assert self.witness is not None, "written to before it was opened"
        return self.witness

    @property
    def readers(self) -> list[str]:
        """Whom it stands for: its user, and its client if that was named."""
        user, client = self.request.user_id, self.request.client_id
        return [f"{kind} {name}" for kind, name in (("user", user), ("client", client)) if name is not None]

    # As the node writes to it.

    def give(self, batch: Sequence[tuple[Message, str | None]]) -> None:
        self._world.watch(self._take_write)
        for message, cursor in batch:
            self._world.watch(lambda message=message, cursor=cursor: self._given(message, cursor))  # type: ignore[misc]

    def begin(self, cursor: str, opened: Mapping[str, object], reset: str | None) -> None:
        assert reset is None, "nothing here gives a reason for it"
        self._world.watch(lambda: self._stands(cursor))
        self._world.watch(lambda: self._opened(opened))
        self.told = opened["unread"]

    def control(self, event: str, payload: Mapping[str, object]) -> None:
        self._world.watch(self._take_write)
        assert event == "sse.unread", f"nothing here gives a reason for {event}"
        self.told = payload

    def beat(self, cursor: str) -> None:
        self._world.watch(self._take_write)
        self._world.watch(lambda: self._stands(cursor))

    def close(self, reason: str, *, reconnect: bool, retry_ms: int | None = None) -> None:
        self.closed = True

    # As its reader takes it.

    def stall(self, room: int) -> None:
        """Take so many more writes, at least one, and then none."""
        if not self.blocked:
            self.room = room

    def release(self) -> None:
        """Take everything again."""
        was_blocked, self.room, self.blocked = self.blocked, None, False
        if was_blocked:
            self.drained()

    def cut(self) -> None:
        """The reader is gone: from now on nothing counts as given."""
        self.closed = True
        if self.opening is not None:
            self.opening.cancel()
        if self.connection is not None:
            self.connection.leave()

    def come_back(self, node: WatchedNode, frames_lost: int) -> WatchedStream:
        """The reader opens another stream, on whichever node, having received all but the last frames of this one."""
        frame = self.frames[max(0, len(self.frames) - 1 - frames_lost)]
        request = replace(self.request, cursor=frame.cursor)
        witness = replace(self.known.after_cut(frame.persisted_given), order=node.order)
        return self._world.open(node, self.identity, request, witness)

    # What must hold.

    def _take_write(self) -> None:
        assert not self.blocked, "written to while blocked"
        assert not self.closed, "written to after its end"
        if self.room is not None:
            self.room -= 1
            self.blocked = self.room <= 0

    def _given(self, message: Message, cursor: str | None) -> None:
        self._world.given(self, message)
        assert (cursor is None) == (message.seq is None), "§3.9: only persisted messages carry a cursor"
        if cursor is not None:
            assert cursor.split("-")[0] == str(message.seq)
            _positions(cursor)
        persisted = sum(given.seq is not None for given in self.known.given)
        self.frames.append(Frame(cursor or self.frames[-1].cursor, persisted, stands=False))

    def _stands(self, cursor: str) -> None:
        before = self.frames[-1].persisted_given if self.frames else 0
        self.frames.append(Frame(cursor, before, stands=True))
        assert cursor.split("-")[0] == str(max(_positions(cursor)))

    def _opened(self, payload: Mapping[str, object]) -> None:
        """The stream begins, this instant: from now on it is offered what the node hands out."""
        begin = _positions(self.frames[0].cursor)
        cursor = self.request.cursor
        assert (payload["resumed"], payload["complete"]) == (cursor is not None, True)
        if cursor is not None:
            assert begin == _positions(cursor), "does not begin where the last one was left"
        else:
            who = replace(self.identity, client_id=str(payload["client_id"]))
            head = self.node.head
            start = begin[0], begin[1], begin[2]
            self.witness = OpeningWitness(who, start, head, self.node.order, asked_at_head=self._asked.head)
            self._world.begins(self.node, self.witness)
            self._check_beginning(begin, head)
        for reader in self.readers:
            least = most = START
            if cursor is None and reader == self._client and reader not in self._asked.furthest:
                # What lies before it is not owed to a client that was not known, unless it is its own.
                least, most = (self._before_own(begin, START, expired=expired) for expired in (True, False))
            self._world.begins_to_know(self.node, reader, least, most)
        self._check_counts(payload["unread"])

    @property
    def _client(self) -> str | None:
        return None if self.request.client_id is None else f"client {self.request.client_id}"

    def _before_own(self, positions: Positions, beyond: Sequence[int], *, expired: bool) -> Positions:
        """`positions`, or just before the first message beyond what it was given that is to its client: also one that
        has expired, if that may not have been so when it was looked for."""
        before, now = list(positions), self._world.clock.now()
        for message in self._world.log:
            seq, priority = message.seq or 0, message.priority
            own = message.receiver.type is ReceiverType.CLIENT and message.receiver.id == self.request.client_id
            if own and seq > beyond[priority] and (expired or not is_expired(message, now)):
                before[priority] = min(before[priority], seq - 1)
        return Positions(*before)

    def _check_counts(self, told: object) -> None:
        """SPEC §2: they are the user's own, of some moment since the stream was asked for."""
        assert (told is None) == (self.identity.user_id is None)
        if isinstance(told, Mapping):
            now = self._world.unread_of(self.identity.user_id)
            # Of a group the user may have been another kind of member meanwhile.
            in_groups = {m.event_id for m in self._world.log if m.receiver.type is ReceiverType.GROUP}
            before, since = self._asked.unread, self._world.log[self._asked.seq :]
            throughout = {m.event_id for m in now if m in before} - in_groups
            ever = {m.event_id for m in (*before, *since)} | in_groups
            assert len(throughout) <= told["total"] <= len(ever)

    def _check_beginning(self, begin: Positions, head: int) -> None:
        """SPEC §2: a stream without a cursor begins at what its user, or else its client, was not given yet."""
        assert max(begin) <= head
        if self.request.replay is ReplayMode.NONE:
            assert self._asked.head <= begin[0] == begin[1] == begin[2]
            return
        if self.identity.user_id is not None and self.request.replay is ReplayMode.UNREAD:
            still = self._world.unread_of(self.identity.user_id)
            owed = [message for message in self._asked.unread if message in still]
        else:
            self._check_pending(begin, head)
            owed = []
        client = self.request.client_id
        if client is not None:
            given = self._world.furthest.get(f"client {client}", [0, 0, 0])
            own = (message for message in self._world.log[: self._asked.head] if message.receiver.id == client)
            own = (message for message in own if message.receiver.type == ReceiverType.CLIENT)
            owed += [message for message in own if (message.seq or 0) > given[message.priority]]
        for message in owed:
            expired = is_expired(message, self._world.clock.now())
            assert expired or begin[message.priority] < (message.seq or 0), "begins beyond what it is owed"

    def _check_pending(self, begin: Positions, head: int) -> None:
        reader = self.readers[0] if self.readers else None
        if reader is None:
            assert min(begin) >= self._asked.head
            return
        given_before = self._asked.furthest.get(reader, [0, 0, 0] if self.identity.user_id else None)
        if given_before is None:
            return  # a client that nobody knew may have become known meanwhile
        given_now = self._world.furthest.get(reader, given_before)
        owed_at_least = Positions(*given_before).nearest(Positions.level(self._asked.head))
        if self._client is not None:
            given = self._asked.furthest.get(self._client, START)
            owed_at_least = self._before_own(owed_at_least, given, expired=True)
        for position, least, now in zip(begin, owed_at_least, given_now, strict=True):
            assert position <= now, "begins beyond what its reader was given"
            assert position >= least, "gives again what its reader was given, or was not there for"


def _positions(cursor: str) -> Positions:
    parsed = parse_cursor(cursor)
    assert parsed is not None
    assert CURSOR_GRAMMAR.fullmatch(cursor)
    return parsed.positions
