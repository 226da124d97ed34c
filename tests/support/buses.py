"""Hubs that are nothing but the buses of their nodes, and what each node hears.

To put another bus under contract, add it to HUBS.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import pytest

from sse_adapters.memory import MemoryBus, MemoryLine
from sse_adapters.redis import RedisBus, RedisConnections
from sse_domain.notes import HasRead, Note
from sse_domain.ports import Bus
from tests.support.patience import within
from tests.support.redis_server import redis_prefix, redis_url

_SECONDS = 90.0
_POLL_SECONDS = 0.01


class Node:
    """A node's bus, and what it has given the node: notes with who told them, in order, and how often some may have
    been missed."""

    def __init__(self, node_id: str, bus: Bus) -> None:
        self.id = node_id
        self.bus = bus
        self.heard: list[tuple[str, Note]] = []
        self.missed = 0
        self._changed = asyncio.Event()

    @property
    def notes(self) -> list[Note]:
        return [note for _, note in self.heard]

    async def start(self) -> None:
        """Start, and wait until it hears."""
        await self.bus.start(self.hear, self.miss)
        await self.until(lambda: self.missed > 0)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what has been heard or missed makes this true."""
        try:
            async with within(_SECONDS):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            last = f"{len(self.heard)} notes, the last {self.heard[-3:]}"
            raise AssertionError(f"heard {last}; missed {self.missed} times; {self.bus.health()}") from None

    async def until_heard(self, note: Note) -> None:
        await self.until(lambda: note in self.notes)

    async def until_healthy(self, healthy: bool = True) -> None:
        """Wait until the bus says that it is, or is not. Nothing tells of it: it is looked at again and again."""
        try:
            async with within(_SECONDS):
                while self.bus.health()["healthy"] is not healthy:  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise AssertionError(f"still {self.bus.health()}") from None

    def hear(self, node_id: str, note: Note) -> None:
        self.heard.append((node_id, note))
        self._changed.set()

    def miss(self) -> None:
        self.missed += 1
        self._changed.set()


class Hub:
    """Makes its nodes' buses, and closes them at the end of its block."""

    def __init__(self, make_bus: Callable[[str], Bus]) -> None:
        self._make_bus = make_bus
        self._buses: list[Bus] = []

    def node(self, node_id: str) -> Node:
        """One that has not been started."""
        bus = self._make_bus(node_id)
        self._buses.append(bus)
        return Node(node_id, bus)

    async def nodes(self, *node_ids: str) -> list[Node]:
        nodes = [self.node(node_id) for node_id in node_ids]
        await asyncio.gather(*(node.start() for node in nodes))
        return nodes

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()


@asynccontextmanager
async def open_memory_hub() -> AsyncIterator[Hub]:
    line = MemoryLine()
    hub = Hub(lambda node_id: MemoryBus(line, node_id))
    yield hub
    await hub.close()


@asynccontextmanager
async def open_redis_hub(url: str | None = None, prefix: str | None = None) -> AsyncIterator[Hub]:
    """On this Redis, or the one that all tests share. Each node has connections of its own."""
    async with AsyncExitStack() as ending:
        if prefix is None:
            prefix = await ending.enter_async_context(redis_prefix(url))
        connections: list[RedisConnections] = []

        def make_bus(node_id: str) -> Bus:
            connections.append(RedisConnections(url or redis_url(), prefix))
            return RedisBus(connections[-1], node_id)

        hub = Hub(make_bus)
        try:
            yield hub
        finally:
            await hub.close()
            for one in connections:
                await one.close()


HUBS: dict[str, Callable[[], AbstractAsyncContextManager[Hub]]] = {
    "memory": open_memory_hub,
    "redis": open_redis_hub,
}


def mark(number: int) -> HasRead:
    """One of many notes that differ."""
    return HasRead(f"user-{number}")


async def hear_each_other(one: Node, other: Node, number: int) -> None:
    for teller, hearer in ((one, other), (other, one)):
        teller.bus.tell(mark(number))
        await hearer.until_heard(mark(number))


async def missed_and_back(*nodes: Node) -> None:
    """Wait until each of these, which had been started before, has missed something once more and hears again."""
    for node in nodes:
        await node.until(lambda node=node: node.missed > 1)  # type: ignore[misc]
        await node.until_healthy()


async def logged(caplog: pytest.LogCaptureFixture, level: int, count: int) -> None:
    """Wait until the bus has logged so many lines of this level."""
    async with within(_SECONDS):
        while [record.levelno for record in caplog.records].count(level) < count:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
