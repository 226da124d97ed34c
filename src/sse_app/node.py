"""A node's life: start, the periodic work, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

from sse_app.clock import StoreClock
from sse_app.delivered import DeliveredLedger
from sse_app.feed import Feed
from sse_app.heartbeat import Heartbeat
from sse_app.hub import Hub
from sse_app.janitor import Janitor
from sse_app.outbox import TICK_SECONDS, OutboxRelay
from sse_app.sequencer import Sequencer
from sse_app.service import HubService
from sse_app.unread import UnreadWatch
from sse_domain.errors import Unavailable

log = logging.getLogger("sse_hub.node")

WAVE_SECONDS = 0.25


class Store(Protocol):
    """What a node needs of its storage beside the ports: to be started and closed."""

    async def start(self) -> None: ...
    async def close(self) -> None: ...


class Node:
    """A hub with everything that keeps it running. As a context manager, for once, it runs it: `async with node`.

    `hub` may be mounted before that, but answers only while the node runs.
    """

    def __init__(
        self,
        *,
        store: Store,
        streams: Hub,
        feed: Feed,
        sequencer: Sequencer,
        outbox: OutboxRelay,
        clock: StoreClock,
        service: HubService,
        heartbeat: Heartbeat,
        unread: UnreadWatch,
        ledger: DeliveredLedger,
        janitor: Janitor,
        cleanup_seconds: float,
        drain_seconds: float,
    ) -> None:
        self.hub = service
        self._store = store
        self._streams = streams
        self._feed = feed
        self._sequencer = sequencer
        self._outbox = outbox
        self._clock = clock
        self._ledger = ledger
        self._drain_seconds = drain_seconds
        self._work: list[asyncio.Task[None]] = []
        self._periodic: tuple[tuple[float, Callable[[], Awaitable[object]]], ...] = (
            (0.1, heartbeat.beat),
            (0.1, unread.flush),
            (1.0, heartbeat.sweep),
            (1.0, feed.catch_up),
            (TICK_SECONDS, outbox.run),
            (5.0, self._record_delivered),
            (10.0, clock.adjust),
            (cleanup_seconds, janitor.run),
        )

    async def __aenter__(self) -> HubService:
        """Start. Raises StoreUnavailable, with nothing left running."""
        await self._store.start()
        try:
            await self._clock.adjust()
            await self._feed.start()
        except BaseException:
            await self._store.close()
            raise
        self._work = [asyncio.create_task(_every(seconds, job)) for seconds, job in self._periodic]
        return self.hub

    async def __aexit__(self, *error: object) -> None:
        """End what is still open, finish what was taken, close the store."""
        self.hub.draining = True
        self._streams.end(self._streams.connections, "shutdown")
        await self._sequencer.stop()
        await self._outbox.stop()
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self._streams.flow.stop()
        try:
            await self._record_delivered()
        except Unavailable as reason:
            log.warning("what was delivered last could not be recorded: %s", reason.detail)
        await self._store.close()

    async def drain(self) -> None:
        """End all streams in jittered waves, each with its own time to return (SPEC §9, SIGTERM)."""
        self.hub.draining = True
        waves = max(1, int(self._drain_seconds / WAVE_SECONDS))
        while self._streams.connections:
            streams = list(self._streams.connections)
            random.shuffle(streams)
            self._streams.end(streams[: -(-len(streams) // waves)], "shutdown")
            waves -= 1
            if waves:
                await asyncio.sleep(WAVE_SECONDS)

    async def _record_delivered(self) -> None:
        await self._feed.catch_up()  # it may find that what was given is not of this log, and not to be recorded in it
        await self._ledger.flush()


async def _every(seconds: float, job: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await job()
        except Unavailable as error:
            log.warning("put off: %s", error.detail)
        except Exception:
            log.exception("periodic work failed; it is tried again in %g s", seconds)
