"""Following the other nodes: applying what they have committed as soon as they say so.

What they say is a hint (see hints.py). A hole between hints is most often two nodes' notes that have overtaken each
other, and closes by itself in a moment; if it does not, the log is read. When notes may have been lost, it is read at
once. And if nothing is heard at all, the feed's own tick finds what there is.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from sse_app.feed import Feed
from sse_domain.errors import Unavailable
from sse_domain.notes import Committed, LearnMemberships

log = logging.getLogger("sse_hub.feed")

PATIENCE_SECONDS = 0.02  # with a hole, before the log is read
PAUSE_SECONDS = 1.0  # after a failure of our own, which may well come again


class Follower:
    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._woken = asyncio.Event()
        self._missed = False

    def hear(self, committed: Committed) -> None:
        """Another node has committed something."""
        if self._feed.hint(committed):
            self._woken.set()

    def hear_question(self, question: LearnMemberships) -> None:
        """Another node has changed a membership, and waits until this one knows it."""
        if self._feed.asked(question):
            self._woken.set()

    def missed(self) -> None:
        """Another node may have said something that was not heard."""
        self._missed = True
        self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                if self._missed or not await self._applies_hints():
                    self._missed = False
                    await self._feed.catch_up()
            except Unavailable:
                pass  # the feed's tick tells of it, and tries again
            except Exception:
                log.exception("following the other nodes failed; what they have committed comes with the tick")
                await asyncio.sleep(PAUSE_SECONDS)

    async def _applies_hints(self) -> bool:
        """Whether all that was heard of could be applied, once each hole has had its time to close."""
        loop = asyncio.get_running_loop()
        hole, deadline = None, 0.0
        while (found := await self._feed.apply_hints()) is not None:
            if found != hole:
                hole, deadline = found, loop.time() + PATIENCE_SECONDS
            if self._missed or loop.time() >= deadline:
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._woken.wait()
            self._woken.clear()
        return True
