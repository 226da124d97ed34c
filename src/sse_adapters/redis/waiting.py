"""Notes that a node has told and that are not known to be published yet."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from sse_adapters.redis.wire import encoded
from sse_domain.notes import Committed, Note
from sse_domain.replay import LogHead

MAX_NOTES = 4096
MAX_BYTES = 8 * 1024 * 1024
MAX_SECONDS = 10.0
ENVELOPE_NOTES = 1000
ENVELOPE_BYTES = 256 * 1024


class WaitingNotes:
    """A queue of bounded size and age. The oldest give way, and are counted: what is new matters more, and what was
    only in passing, or was to be done at once, is not to come minutes later.

    Of the Committed that gave way the last one's head is still told, after all that waits, unless something that waits
    tells as much. Times are seconds by any clock that only rises.
    """

    def __init__(self, max_notes: int = MAX_NOTES, max_bytes: int = MAX_BYTES) -> None:
        self.dropped = 0
        self._max_notes = max_notes
        self._max_bytes = max_bytes
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._taken: list[_Waiting] = []
        self._owed: LogHead | None = None

    def __bool__(self) -> bool:
        """Whether any is not known to be published."""
        return bool(self._waiting or self._taken or self._owed)

    def add(self, note: Note, now: float) -> None:
        head = note.head if isinstance(note, Committed) else None
        for part in encoded(note):
            self._waiting.append(_Waiting(part, head, now))
            self._bytes += len(part)
        self._make_room()

    def take(self, now: float) -> list[bytes]:
        """What is to be published next, encoded and in order: what goes well into an envelope, or one alone that does
        not. Called when what was taken before is `published` or has been put back."""
        while self._waiting and self._waiting[0].since < now - MAX_SECONDS:
            self._drop_oldest()
        size = 0
        while self._waiting and len(self._taken) < ENVELOPE_NOTES and size <= ENVELOPE_BYTES:
            taken = self._waiting.popleft()
            size += len(taken.encoded)
            self._taken.append(taken)
            if self._owed and taken.head and _tells_as_much(taken.head, self._owed):
                self._owed = None
        self._bytes -= size
        if self._owed and not self._waiting:
            self._taken += (_Waiting(part, self._owed, now) for part in encoded(Committed(self._owed)))
            self._owed = None
        return [taken.encoded for taken in self._taken]

    def published(self) -> int:
        """What was taken has been published; how many notes."""
        count = len(self._taken)
        self._taken.clear()
        return count

    def put_back(self) -> None:
        """What was taken is not known to be published: it waits again, before all others."""
        self._waiting.extendleft(reversed(self._taken))
        self._bytes += sum(len(taken.encoded) for taken in self._taken)
        self._taken.clear()
        self._make_room()

    def _make_room(self) -> None:
        while len(self._waiting) > self._max_notes or self._bytes > self._max_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        dropped = self._waiting.popleft()
        self._bytes -= len(dropped.encoded)
        self.dropped += 1
        if dropped.head and not (self._owed and _tells_as_much(self._owed, dropped.head)):
            self._owed = dropped.head


class _Waiting(NamedTuple):
    encoded: bytes
    head: LogHead | None
    since: float


def _tells_as_much(head: LogHead, as_other: LogHead) -> bool:
    return (
        head.epoch == as_other.epoch
        and head.seq >= as_other.seq
        and head.memberships >= as_other.memberships
        and head.purged_through >= as_other.purged_through
    )
