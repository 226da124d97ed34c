"""The janitor: removes expired messages, and old ones by age, in bounded batches (SPEC §5)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from sse_app.clock import Clock
from sse_app.unread import UnreadWatch
from sse_domain.ports import Retention

BATCH = 500


class Janitor:
    """Expired messages are invisible from their instant on; a run only gives their space back."""

    def __init__(self, retention: Retention, unread: UnreadWatch, clock: Clock, *, retention_days: float) -> None:
        self._retention = retention
        self._unread = unread
        self._clock = clock
        self._keep = timedelta(days=retention_days)

    async def run(self) -> None:
        """One cleanup. Between its batches sends get their turn. Raises StoreUnavailable."""
        now = self._clock.now()
        await _in_batches(lambda: self._retention.remove_expired(now, BATCH))
        if await _in_batches(lambda: self._retention.remove_older(now - self._keep, BATCH)):
            self._unread.changed_for_all()
        await _in_batches(lambda: self._retention.forget_readers(now - self._keep, BATCH))
        await _in_batches(lambda: self._retention.forget_markings(now - self._keep, BATCH))


async def _in_batches(remove: Callable[[], Awaitable[int]]) -> int:
    total = 0
    while True:
        removed = await remove()
        total += removed
        if removed < BATCH:
            return total
        await asyncio.sleep(0)
