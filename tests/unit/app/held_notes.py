"""A bus whose notes wait until the test lets them go: in any order, twice, or never."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from sse_adapters.memory import MemoryBoard, MemoryPresence
from sse_domain.notes import Note
from sse_domain.ports import Bus, Presence, UnreadCache
from tests.unit.app.conftest import FakeClock

PATIENCE = 1000  # turns of the event loop

Hear = Callable[[str, Note], None]


class Held(NamedTuple):
    """A note on its way to one node, the `number`th that was told of all."""

    number: int
    teller: str
    to: str
    note: Note


class HeldNotes:
    """What several nodes have told and not yet heard, the oldest first."""

    def __init__(self) -> None:
        self.waiting: list[Held] = []
        self.ears: dict[str, tuple[Hear, Callable[[], None]]] = {}
        self.told = 0

    def tell(self, teller: str, note: Note) -> None:
        """Tell every other node."""
        self.told += 1
        self.waiting += [Held(self.told, teller, to, note) for to in self.ears if to != teller]

    async def until(self, waiting: int) -> None:
        """Until so many notes wait."""
        for _ in range(PATIENCE):
            if len(self.waiting) >= waiting:
                return
            await asyncio.sleep(0)
        raise AssertionError("no more is told")

    def let_go(self, index: int = 0) -> None:
        self.hear(self.waiting.pop(index))

    def let_all_go(self) -> None:
        while self.waiting:
            self.let_go()

    def lose(self) -> None:
        self.waiting.clear()

    def hear(self, held: Held) -> None:
        hear, _ = self.ears[held.to]
        hear(held.teller, held.note)

    def missed(self, node_id: str) -> None:
        """Tell a node that it may have missed some."""
        _, missed = self.ears[node_id]
        missed()


class HeldBus(Bus):
    def __init__(self, notes: HeldNotes, node_id: str) -> None:
        self._notes = notes
        self._node_id = node_id

    def tell(self, note: Note) -> None:
        self._notes.tell(self._node_id, note)

    async def start(self, hear: Hear, missed: Callable[[], None]) -> None:
        self._notes.ears[self._node_id] = hear, missed

    def health(self) -> Mapping[str, object]:
        return {"kind": "held", "healthy": True}

    async def close(self) -> None:
        self._notes.ears.pop(self._node_id, None)


class HeldShared:
    """What a node shares with the others of its hub, whose notes are held."""

    def __init__(self, node_id: str, notes: HeldNotes, board: MemoryBoard, clock: FakeClock) -> None:
        self.bus: Bus = HeldBus(notes, node_id)
        self.presence: Presence = MemoryPresence(board, node_id, clock.monotonic)
        self.unread_cache: UnreadCache | None = None

    async def close(self) -> None:
        await self.bus.close()
