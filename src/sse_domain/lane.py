"""One priority of a stream that is not level: what waits in it, and how far the log was read for it.

A lane is level when what waits in it is all that its audience is still owed. One that is behind must read the log
beyond `read_to`. Meanwhile what the feed offers is kept aside in its tail, which has everything offered after
`tail_from`; when the reading has come that far the tail is joined on, and the lane is level. So there is no gap and no
overlap between replay and live, nothing is held back from the feed, and ephemeral messages keep their place.
"""

from __future__ import annotations

from collections import deque

from sse_domain.message import Message


class Lane:
    """Seqs rise from what was considered through what waits to the tail; ephemerals stand where they were offered."""

    __slots__ = ("behind", "considered", "read_to", "tail", "tail_from", "waiting")

    def __init__(self, considered: int) -> None:
        self.considered = considered  # everything up to here was given or passed over
        self.behind = False
        self.read_to = considered  # while behind: the log was read up to here
        self.waiting: deque[Message] = deque()
        self.tail: list[Message] = []
        self.tail_from: int | None = None  # while behind: where the tail begins, None when there is none

    def keep_tail_from(self, head: int) -> int:
        """Keep what is offered from now on, unless a tail is kept already; where the tail begins."""
        self.behind = True
        if self.tail_from is None:
            self.tail_from = head
        return self.tail_from

    def was_read_to(self, seq: int) -> None:
        """The log was read up to `seq`, and what it brought waits. Joins the tail on when that closes the gap."""
        self.read_to = max(self.read_to, seq)
        if self.tail_from is not None and self.read_to >= self.tail_from:
            self.waiting.extend(self.tail)
            self.tail.clear()
            self.tail_from = None
            self.behind = False

    def fall_back(self) -> bool:
        """Drop what waits and the tail. True: persisted messages waited, so now the lane is behind from there."""
        first = self._first_waiting_seq()
        if first is not None:
            self.considered = self.read_to = first - 1
            self.behind = True
        self.waiting.clear()
        self.tail.clear()
        self.tail_from = None
        return first is not None

    def ephemerals(self) -> int:
        """How many ephemeral messages are kept here."""
        return sum(message.seq is None for kept in (self.waiting, self.tail) for message in kept)

    def furthest(self, head: int) -> int:
        """The last position up to which this lane owes nothing: everything there was considered or is for others."""
        first = self._first_waiting_seq()
        if first is not None:
            return first - 1
        return self.read_to if self.behind else head

    def _first_waiting_seq(self) -> int | None:
        return next((message.seq for message in self.waiting if message.seq is not None), None)
