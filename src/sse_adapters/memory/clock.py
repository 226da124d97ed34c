"""Memory has no clock of its own."""

from __future__ import annotations

from sse_domain.ports import StoreTime


class MemoryTime(StoreTime):
    async def now(self) -> None:
        return None
