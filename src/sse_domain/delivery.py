"""Delivery: what one stream is given, in which order, and which cursor each frame carries. Sans I/O, one per stream.

Laws (SPEC §3), each kept by construction:

- *Pull, highest first.* Messages wait in a lane per priority. `pull` always takes from the highest lane that has
  something, so urgent overtakes high overtakes normal, and within a lane seq rises.
- *Level or behind.* A lane is level when what waits in it is all that its audience is still owed. One that is behind
  reads the log until it meets what the feed has offered meanwhile (see lane.py). Nothing of a lower lane is handed
  over while a higher one must read.
- *Bounded.* What is kept is capped in number and bytes; one page of the log may come on top. Past the cap everything
  is dropped, and lanes that had something waiting fall behind: a slow reader costs reads, not memory. Ephemeral
  messages that are dropped so are counted. Sparing some lanes would let what waits in a low one crowd out, for ever,
  what a higher one needs to become level. All streams of a node share a budget as well: while it is used up none reads
  the log, and one that needs to drops what it keeps, so that they never wait for each other.
- *Exact cursors.* For each lane there is a lower bound, the last position considered, and an upper bound, just before
  the first message still waiting (or the feed's head, when nothing is). Every position between is exact. The cursor
  picks, per lane, the one nearest the message's own seq; when all three equal it, the short shared form will do.
- *A level stream costs nothing.* With nothing waiting and nothing behind there are no lanes at all: the stream stands
  at the feed's head by definition, so messages for others need not touch it.

What may be given is decided when it is pulled, not when it arrives: an expired message is passed over, and so is one
of a group that was left meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sse_domain.bounds import UNLIMITED, Budget, Caps
from sse_domain.cursor import Positions
from sse_domain.lane import Lane
from sse_domain.message import Message, Priority
from sse_domain.replay import ReadRequest, ReplayPage
from sse_domain.subscription import Audience

HIGHEST_FIRST = (Priority.URGENT, Priority.HIGH, Priority.NORMAL)


class State(StrEnum):
    REPLAYING = "replaying"  # some lane is behind since the stream opened
    LIVE = "live"
    LAGGING = "lagging"  # some lane is behind because the reader was too slow
    CLOSED = "closed"


class Given(NamedTuple):
    """A message handed over. `positions` is what its frame's cursor says; None when that is just the message's seq
    for every priority, or when the message is ephemeral and carries no cursor."""

    message: Message
    positions: Positions | None


def run_at_once(messages: Sequence[Message], head: int) -> list[Given]:
    """What every level stream is handed whose audience admits exactly these messages of a run, the newest that the feed
    has applied up to `head`: the same for each, so that its frames can be made once.

    Equal to offering them to a level Delivery one by one and pulling them all.
    """
    waiting = [deque(m.seq for m in messages if m.priority is p and m.seq is not None) for p in Priority]
    considered = [0, 0, 0]
    given: list[Given] = []
    for message in sorted(messages, key=lambda m: m.priority, reverse=True):
        seq, positions = message.seq, None
        if seq is not None:
            waiting[message.priority].popleft()
            considered[message.priority] = seq
            # Of a priority that is done everything up to the head; of another, what lies before its first waiting.
            furthest = (lane[0] - 1 if lane else head for lane in waiting)
            at = tuple(min(max(seq, low), high) for low, high in zip(considered, furthest, strict=True))
            positions = None if at == (seq, seq, seq) else Positions(*at)
        given.append(Given(message, positions))
    return given


class Delivery:
    """The state of one stream.

    `head` arguments are the feed's applied seq at that moment: whatever this stream's audience admits up to there has
    been offered (or, for a level one, given).

    `given` holds, per priority, the seq of the last persisted message handed over (0 before the first).
    `dropped` counts ephemeral messages that this stream missed. `level`: nothing waits and nothing is behind; a message
    may be written at once (then call `gave`).
    """

    __slots__ = (
        "_budget",
        "_bytes",
        "_caps",
        "_count",
        "_lanes",
        "_reading",
        "audience",
        "dropped",
        "given",
        "level",
        "state",
    )

    def __init__(
        self, audience: Audience, start: Positions, head: int, caps: Caps, budget: Budget | None = None
    ) -> None:
        """A stream that was given everything up to `start`, from now on offered what the feed applies after `head`.

        `start` must not lie beyond `head`: let the feed catch up first.
        """
        assert max(start) <= head
        self.audience = audience
        self.given = [0, 0, 0]
        self.dropped = 0
        self._caps = caps
        self._budget = budget or Budget(UNLIMITED)
        self._count = 0
        self._bytes = 0
        self._reading: ReadRequest | None = None
        self._lanes: tuple[Lane, Lane, Lane] | None = None
        self.state = State.LIVE
        self.level = start == Positions.level(head)
        if not self.level:
            self.state = State.REPLAYING
            self._lanes = (Lane(start.normal), Lane(start.high), Lane(start.urgent))
            for lane in self._lanes:
                if lane.considered < head:
                    lane.keep_tail_from(head)

    def gave(self, message: Message) -> None:
        """A level stream was handed this message, the newest the feed has applied, without waiting."""
        if message.seq is not None:
            self.given[message.priority] = message.seq

    def offer(self, message: Message) -> None:
        """Take a message of the audience that the feed has just applied. Offers come in seq order."""
        if self.state is State.CLOSED:
            return
        if self._lanes is None:
            self.level = False
            normal, high, urgent = self.given
            self._lanes = (Lane(normal), Lane(high), Lane(urgent))
        lane = self._lanes[message.priority]
        if not lane.behind:
            lane.waiting.append(message)
        elif message.seq is None and (self.state is State.LAGGING or lane.tail_from is None):
            self._drop(1)
            return
        elif lane.tail_from is None:
            return  # the next read of the log brings it
        else:
            lane.tail.append(message)
        self._hold(1, len(message.data))
        full = self._count > self._caps.waiting_messages or self._bytes > self._caps.waiting_bytes
        if full or self._budget.used > self._budget.limit:
            self._fall_back()

    def pull(self, now: datetime, head: int, *, limit: int, max_bytes: int) -> list[Given]:
        """Hand over what waits, highest priority first: up to `limit` messages and about `max_bytes` of data.

        Empty when nothing waits, or when a higher lane must read the log first (see `read_request`).
        """
        given: list[Given] = []
        taken_bytes = 0
        while len(given) < limit and taken_bytes < max_bytes:
            lane = self._next_lane()
            if lane is None or not lane.waiting:
                break
            message = lane.waiting.popleft()
            self._hold(-1, -len(message.data))
            if message.seq is not None:
                lane.considered = message.seq
            if message.expired(now) or not self.audience.admits(message):
                continue
            taken_bytes += len(message.data)
            self.gave(message)
            given.append(Given(message, self._positions_after(message, head)))
        self._settle()
        return given

    def read_request(self, head: int) -> ReadRequest | None:
        """The read of the log that must come before anything more can be pulled, or None.

        At most one read runs at a time; answer it with `page`, or give it up with `read_failed`. None also while the
        node's budget is used up: ask again later.
        """
        lane = self._next_lane()
        if self._lanes is None or self._reading is not None or lane is None or lane.waiting:
            return None
        if self._budget.used >= self._budget.limit:
            self._fall_back()
            return None
        after: list[int | None] = [None, None, None]
        through = head
        for priority, lane in enumerate(self._lanes):
            if lane.behind and not lane.waiting:
                after[priority] = lane.read_to
                through = min(through, lane.keep_tail_from(head))
        self._reading = ReadRequest(
            after=(after[0], after[1], after[2]),
            through=through,
            limit=self._caps.page_messages,
            max_bytes=self._caps.page_bytes,
        )
        return self._reading

    def page(self, page: ReplayPage) -> None:
        """Take the answer to the running read."""
        request, self._reading = self._reading, None
        if request is None or self._lanes is None:
            return
        self._hold(len(page.messages), sum(len(message.data) for message in page.messages))
        for message in page.messages:
            self._lanes[message.priority].waiting.append(message)
        last = None if page.complete else page.messages[-1]
        for priority, lane in enumerate(self._lanes):
            if request.after[priority] is None:
                continue
            if last is None or priority > last.priority:
                lane.was_read_to(request.through)
            elif priority == last.priority and last.seq is not None:
                lane.was_read_to(last.seq)
        self._settle()

    def read_failed(self) -> None:
        """Give the running read up; `read_request` will ask for it again."""
        self._reading = None

    def positions(self, head: int) -> Positions:
        """Where the stream stands: the cursor for a frame that carries no message. Not for a closed stream."""
        assert self.state is not State.CLOSED
        if self._lanes is None:
            return Positions.level(head)
        normal, high, urgent = self._lanes
        return Positions(normal.furthest(head), high.furthest(head), urgent.furthest(head))

    def close(self) -> None:
        """Give nothing more. What waits is dropped; the reader's cursor brings it back."""
        self.state = State.CLOSED
        self.level = False
        self._lanes = None
        self._reading = None
        self._hold(-self._count, -self._bytes)

    def _next_lane(self) -> Lane | None:
        """The highest lane that has something waiting or must read the log first."""
        if self._lanes is not None:
            for priority in HIGHEST_FIRST:
                lane = self._lanes[priority]
                if lane.waiting or lane.behind:
                    return lane
        return None

    def _positions_after(self, message: Message, head: int) -> Positions | None:
        seq = message.seq
        if seq is None or self._lanes is None:
            return None
        normal, high, urgent = (min(max(seq, lane.considered), lane.furthest(head)) for lane in self._lanes)
        return None if normal == high == urgent == seq else Positions(normal, high, urgent)

    def _hold(self, messages: int, data_bytes: int) -> None:
        self._count += messages
        self._bytes += data_bytes
        self._budget.used += data_bytes

    def _drop(self, messages: int) -> None:
        self.dropped += messages
        self._budget.dropped += messages

    def _fall_back(self) -> None:
        assert self._lanes is not None
        for lane in self._lanes:
            self._drop(lane.ephemerals())
            if lane.fall_back():
                self.state = State.LAGGING
        self._hold(-self._count, -self._bytes)

    def _settle(self) -> None:
        if self._lanes is None or any(lane.behind for lane in self._lanes):
            return
        self.state = State.LIVE
        if not any(lane.waiting for lane in self._lanes):
            self._lanes = None
            self.level = True
