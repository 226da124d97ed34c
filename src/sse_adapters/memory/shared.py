"""What a node shares with the others of its hub, for nodes of one process; and for one that has no others."""

from __future__ import annotations

from collections.abc import Callable

from sse_adapters.memory.bus import MemoryBus, MemoryLine
from sse_adapters.memory.presence import MemoryBoard, MemoryPresence


class MemoryShared:
    """`line` and `board` are what the nodes of a hub have in common; left out, this one is alone. `monotonic` tells
    seconds that only rise. Unread counts are not cached: the store is as near."""

    def __init__(
        self,
        node_id: str,
        monotonic: Callable[[], float],
        line: MemoryLine | None = None,
        board: MemoryBoard | None = None,
    ) -> None:
        self.bus = MemoryBus(line or MemoryLine(), node_id)
        self.presence = MemoryPresence(board or MemoryBoard(), node_id, monotonic)
        self.unread_cache = None

    async def close(self) -> None:
        await self.bus.close()
