"""A node's life: start, the periodic work, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Protocol

from sse_app.clock import StoreClock
from sse_app.cluster import Cluster
from sse_app.delivered import DeliveredLedger
from sse_app.feed import Feed
from sse_app.following import Follower
from sse_app.heartbeat import Heartbeat
from sse_app.hub import Hub
from sse_app.janitor import Janitor
from sse_app.outbox import TICK_SECONDS, OutboxRelay
from sse_app.overview import Overview
from sse_app.presence import PresenceReporter
from sse_app.sequencer import Sequencer
from sse_app.service import HubService
from sse_app.unread import UnreadWatch
from sse_domain.errors import NodesUnavailable, Unavailable

log = logging.getLogger("sse_hub.node")

WAVE_SECONDS = 0.25
END_SECONDS = 0.5  # in which a task ends that was cancelled; if not, it is cancelled again
PRESENCE_SECONDS = 0.25  # between what is said of this node, at most


class Store(Protocol):
    """What a node needs of its storage beside the ports: to be started and closed."""

    async def start(self) -> None: ...
    async def close(self) -> None: ...


class Shared(Protocol):
    """What a node shares with others of its hub, beside the store: to be closed."""

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
        presence: PresenceReporter,
        overview: Overview,
        follower: Follower,
        cluster: Cluster,
        shared: Shared,
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
        self._presence = presence
        self._overview = overview
        self._follower = follower
        self._cluster = cluster
        self._shared = shared
        self._ledger = ledger
        self._drain_seconds = drain_seconds
        self._work: list[asyncio.Task[None]] = []
        self._periodic: tuple[tuple[float, Callable[[], Awaitable[object]]], ...] = (
            (0.1, heartbeat.beat),
            (0.1, unread.flush),
            (1.0, heartbeat.sweep),
            (1.0, feed.catch_up),
            (1.0, unread.look_for_marks),
            (min(PRESENCE_SECONDS, presence.lease_seconds / 4), self._report),
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
            await self._cluster.start()
        except BaseException:
            await self._shared.close()
            await self._store.close()
            raise
        self._work = [asyncio.create_task(_every(seconds, job)) for seconds, job in self._periodic]
        self._work.append(asyncio.create_task(self._follower.run()))
        return self.hub

    async def __aexit__(self, *error: object) -> None:
        """End what is still open, finish what was taken, close the store."""
        self.hub.draining = True
        self._streams.end(self._streams.connections, "shutdown")
        await self._sequencer.stop()
        await self._outbox.stop()
        await _end(self._work)
        await self._streams.flow.stop()
        try:
            await self._record_delivered()
        except Unavailable as reason:
            log.warning("what was delivered last could not be recorded: %s", reason.detail)
        with suppress(NodesUnavailable):  # then it is gone for the others when its lease ends
            await self._presence.leave(self._overview.report())
        await self._shared.close()
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

    async def _report(self) -> None:
        with suppress(NodesUnavailable):  # of which its adapter tells, once for each outage
            await self._presence.run(self._overview.report())

    async def _record_delivered(self) -> None:
        await self._feed.catch_up()  # it may find that what was given is not of this log, and not to be recorded in it
        await self._ledger.flush()


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: before Python 3.12 `asyncio.wait_for`, which libraries use, may swallow one."""
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=END_SECONDS)


async def _every(seconds: float, job: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await job()
        except Unavailable as error:
            log.warning("put off: %s", error.detail)
        except Exception:
            log.exception("periodic work failed; it is tried again in %g s", seconds)
