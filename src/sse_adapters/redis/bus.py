"""The bus over Redis Pub/Sub.

Pub/Sub says nothing of what was lost. A node that is cut off from it, or that Redis itself has cut off because it read
too slowly, sees a connection that ends, or nothing at all. So a connection is taken to be dead unless what this node
publishes, every second at least, comes back to it; and a new one begins with `missed`.

Nobody here waits for Redis but one task, which keeps a connection. What is told goes into a bounded queue; from there
one envelope at a time is on its way, with all that has gathered meanwhile. An envelope without notes is the canary.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress

from sse_adapters.redis.connections import TIMEOUT_SECONDS, RedisConnections
from sse_adapters.redis.errors import REDIS_ERRORS, reason
from sse_adapters.redis.pubsub import PubSubConnection
from sse_adapters.redis.server import RedisServer
from sse_adapters.redis.waiting import WaitingNotes
from sse_adapters.redis.wire import Unreadable, address, envelope, opened
from sse_domain.notes import Note
from sse_domain.ports import Bus

log = logging.getLogger("sse_hub.bus")

CANARY_SECONDS = 1.0
CANARIES = 3  # so many may be on their way before the connection is taken to be dead
FIND_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
CLOSE_SECONDS = 1.0


class RedisBus(Bus):
    """A hub's notes go to one channel. `node_id` is this node's alone, and at most 255 bytes."""

    def __init__(self, connections: RedisConnections, node_id: str) -> None:
        self._connections = connections
        self._channel = connections.key("notes")
        self._address = address(node_id)
        self._waiting = WaitingNotes()
        self._hear: Callable[[str, Note], None]
        self._missed: Callable[[], None]
        self._keeping: asyncio.Task[None] | None = None
        self._connection: PubSubConnection | None = None
        self._sends_soon = False
        self._canaries = 0  # since one came back
        self._healthy = False
        self._down_since: float | None = None
        self._pause = FIRST_PAUSE_SECONDS
        self._closed = False
        self._all_told: asyncio.Future[None] | None = None
        self._told = self._heard = self._ignored = self._connects = 0

    def tell(self, note: Note) -> None:
        if self._closed:
            return
        try:
            self._waiting.add(note, asyncio.get_running_loop().time())
        except Exception:
            log.exception("a note can't be told")
            return
        if self._connection is not None and not self._connection.publishing and not self._sends_soon:
            self._sends_soon = True  # what else is told in this turn goes with it
            asyncio.get_running_loop().call_soon(self._send_waiting)

    async def start(self, hear: Callable[[str, Note], None], missed: Callable[[], None]) -> None:
        self._hear = hear
        self._missed = missed
        self._keeping = asyncio.create_task(self._keep_connected())

    def health(self) -> Mapping[str, object]:
        """Also counts: notes `told` and `heard`; `dropped`, those not told because too many waited, or for too
        long; `ignored`, what came and can't be read; `reconnects`."""
        return {
            "kind": self._connections.kind,
            "healthy": self._healthy,
            "told": self._told,
            "heard": self._heard,
            "dropped": self._waiting.dropped,
            "ignored": self._ignored,
            "reconnects": max(0, self._connects - 1),
        }

    async def close(self) -> None:
        self._closed = True
        keeping, self._keeping = self._keeping, None
        if keeping is None:
            return
        if self._connection is not None and self._waiting:
            self._all_told = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._all_told], timeout=CLOSE_SECONDS)
        keeping.cancel()
        await asyncio.wait([keeping])

    async def _keep_connected(self) -> None:
        while True:
            try:
                ended = await self._stay_connected()
            except REDIS_ERRORS as error:
                ended = reason(error)
            except Exception as error:
                log.exception("the bus has failed")
                ended = reason(error)
            if self._down_since is None:
                self._down_since = asyncio.get_running_loop().time()
                log.warning("this node and the others don't hear each other: %s", ended)
            else:
                log.debug("still not: %s", ended)
            # Nodes that have lost the same server don't all come back at once.
            await asyncio.sleep(self._pause * random.uniform(0.5, 1))  # noqa: S311  (spreads load; guards nothing)
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    async def _stay_connected(self) -> str:
        """Connect, and use that connection while it lives; why it has ended."""
        server = await self._connections.server_of(self._channel)
        sharded = self._connections.sharded
        connection = PubSubConnection(server.hello, self._channel, sharded, self._receive, self._published)
        try:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await server.connect(lambda: connection)
                    await connection.begun()
            except TimeoutError:
                return "Redis does not answer"
            if connection.ended.done():
                return connection.ended.result()
            self._connection = connection
            self._connects += 1
            self._call_missed()
            moved = asyncio.create_task(self._until_moved(server))
            try:
                return await self._watch(connection, moved)
            finally:
                moved.cancel()
        finally:
            self._connection = None
            self._healthy = False
            self._waiting.put_back()
            connection.end("given up")

    async def _watch(self, connection: PubSubConnection, moved: asyncio.Future[str]) -> str:
        """Send canaries as long as they come back; why that is over."""
        self._canaries = 0
        while self._canaries < CANARIES:
            self._canaries += 1
            if not connection.publishing:
                self._send()
            # Counted, not timed: a node that was stopped for a while finds later what has come back.
            ends: list[asyncio.Future[str]] = [connection.ended, moved]
            over, _ = await asyncio.wait(ends, timeout=CANARY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if over:
                return over.pop().result()
        return "what this node publishes doesn't come back"

    async def _until_moved(self, server: RedisServer) -> str:
        """Wait until another server has the channel. A former master may serve on for a while, for those who are still
        there, or for ever if nobody reaches it."""
        while True:
            await asyncio.sleep(FIND_SECONDS)
            with suppress(*REDIS_ERRORS):
                if await self._connections.server_of(self._channel) != server:
                    return "another server has the channel"

    def _send_waiting(self) -> None:
        self._sends_soon = False
        if self._waiting and self._connection is not None and not self._connection.publishing:
            self._send()

    def _send(self) -> None:
        assert self._connection is not None
        notes = self._waiting.take(asyncio.get_running_loop().time())
        self._connection.publish(envelope(self._address, notes))

    def _published(self) -> None:
        self._told += self._waiting.published()
        if self._waiting:
            self._send()
        elif self._all_told is not None and not self._all_told.done():
            self._all_told.set_result(None)

    def _receive(self, published: bytes) -> None:
        if published.startswith(self._address):
            self._come_back()
            return
        try:
            node_id, notes = opened(published)
        except Unreadable as error:
            if not self._ignored:
                log.warning("what can't be read on the channel is ignored; this was the first: %s", error)
            self._ignored += 1
            return
        for note in notes:
            self._heard += 1
            try:
                self._hear(node_id, note)
            except Exception:
                log.exception("a note of node %r was not taken", node_id)

    def _come_back(self) -> None:
        """Something of this node's own has come back: the connection lives, in both directions."""
        self._canaries = 0
        if self._healthy:
            return
        self._healthy = True
        self._pause = FIRST_PAUSE_SECONDS
        if self._down_since is not None:
            seconds = asyncio.get_running_loop().time() - self._down_since
            self._down_since = None
            log.warning("this node and the others hear each other again, after %.1f s", seconds)

    def _call_missed(self) -> None:
        try:
            self._missed()
        except Exception:
            log.exception("that notes may have been missed was not taken")
