"""A bus between nodes of one process; for a node that is alone on its line, none at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from sse_domain.notes import Note
from sse_domain.ports import Bus


class MemoryLine:
    """What the buses of a hub's nodes have in common."""

    def __init__(self) -> None:
        self._buses: list[MemoryBus] = []


class MemoryBus(Bus):
    """Loses nothing and has no limits, between nodes on one event loop. A hub of one node has it with a line of its
    own, where it costs nothing."""

    def __init__(self, line: MemoryLine, node_id: str) -> None:
        self._line = line
        self._node_id = node_id
        self._hear: Callable[[str, Note], None] | None = None

    def tell(self, note: Note) -> None:
        if self._hear is None:
            return
        for bus in self._line._buses:
            if bus is not self:
                asyncio.get_running_loop().call_soon(bus._take, self._node_id, note)

    async def start(self, hear: Callable[[str, Note], None], missed: Callable[[], None]) -> None:
        self._hear = hear
        self._line._buses.append(self)
        asyncio.get_running_loop().call_soon(missed)

    def health(self) -> Mapping[str, object]:
        """`kind` is "none" as long as there is no other node."""
        alone = all(bus is self for bus in self._line._buses)
        return {"kind": "none" if alone else "memory", "healthy": True}

    async def close(self) -> None:
        if self._hear is not None:
            self._hear = None
            self._line._buses.remove(self)

    def _take(self, node_id: str, note: Note) -> None:
        if self._hear is not None:
            self._hear(node_id, note)
