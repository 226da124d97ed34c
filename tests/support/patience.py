"""How long a test waits for what must come, or may take for what must be quick."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_STEPS = 25


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """As `asyncio.timeout`, but a time in which this process stood still counts for a step of many.

    It would be counted against others: a deadline that passes meanwhile also wins over what has long arrived.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        spending: asyncio.Handle = loop.call_soon(lambda: spend(_STEPS))

        def spend(steps: int) -> None:
            nonlocal spending
            if steps:
                spending = loop.call_later(seconds / _STEPS, spend, steps - 1)
            else:
                limit.reschedule(loop.time())

        try:
            yield
        finally:
            spending.cancel()
