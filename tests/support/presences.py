"""Every Presence there is, for the suite that holds each of them to its contract, and what connections to say of it.

To put another under contract, add it to HUBS.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

from sse_adapters.memory import MemoryBoard, MemoryPresence
from sse_adapters.redis import RedisConnections, RedisPresence
from sse_domain.ports import Presence
from sse_domain.presence import ClientInfo, NodeReport
from tests.support.clock import FIRST_INSTANT
from tests.support.redis_server import redis_prefix, redis_url


class Hub(Protocol):
    """A new hub that no node has joined."""

    @abstractmethod
    def node(self, node_id: str) -> Presence:
        """What a process has that begins to run under this id."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """From now on it is as if so much more time had passed."""


class MemoryHub(Hub):
    def __init__(self) -> None:
        self._now = 0.0
        self._board = MemoryBoard()

    def node(self, node_id: str) -> Presence:
        return MemoryPresence(self._board, node_id, lambda: self._now)

    async def pass_time(self, seconds: float) -> None:
        self._now += seconds


# What is due in so many milliseconds is due now.
_HASTEN = """
for _, key in ipairs(KEYS) do
    if redis.call('TYPE', key).ok == 'zset' then
        for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(0', 'inf')) do
            redis.call('ZINCRBY', key, -ARGV[1], member)
        end
    end
    local left = redis.call('PTTL', key)
    if left >= 0 then
        redis.call('PEXPIRE', key, math.max(left - ARGV[1], 0))
    end
end
"""


class RedisHub(Hub):
    def __init__(self, connections: RedisConnections, prefix: str) -> None:
        self.connections = connections
        self.client: Any = connections.client
        self._prefix = prefix

    def node(self, node_id: str) -> Presence:
        return RedisPresence(self.connections, node_id)

    async def keys(self) -> list[bytes]:
        return [key async for key in self.client.scan_iter(match=f"{{{self._prefix}}}*", count=1000)]

    async def pass_time(self, seconds: float) -> None:
        keys = await self.keys()
        await self.client.eval(_HASTEN, len(keys), *keys, int(seconds * 1000))


@asynccontextmanager
async def open_memory_hub() -> AsyncIterator[Hub]:
    yield MemoryHub()


@asynccontextmanager
async def open_redis_hub() -> AsyncIterator[RedisHub]:
    """On the Redis that all tests share."""
    async with redis_prefix() as prefix, open_redis_hub_at(redis_url(), prefix) as hub:
        yield hub


@asynccontextmanager
async def open_redis_hub_at(url: str, prefix: str = "hub") -> AsyncIterator[RedisHub]:
    """On a Redis of a test's own, which no keys need to be removed from."""
    connections = RedisConnections(url, prefix)
    try:
        yield RedisHub(connections, prefix)
    finally:
        await connections.close()


HUBS: dict[str, Callable[[], AbstractAsyncContextManager[Hub]]] = {
    "memory": open_memory_hub,
    "redis": open_redis_hub,
}


def report(node_id: str, uptime_seconds: float = 0.0) -> NodeReport:
    return NodeReport(
        node_id=node_id,
        uptime_seconds=uptime_seconds,
        connections=1,
        accepted=2,
        delivered=3,
        replayed=4,
        dropped=5,
        backlog=6,
    )


def connection(
    connection_id: str,
    user_id: str | None = None,
    *groups: str,
    client_id: str | None = None,
    age: float = 0,
    event_types: Sequence[str] | None = None,
) -> ClientInfo:
    """An open one, `age` seconds older than others. The client id is the connection's unless it is given."""
    return ClientInfo(
        connection_id=connection_id,
        client_id=client_id or connection_id,
        user_id=user_id,
        groups=list(groups),
        event_types=event_types,
        state="live",
        connected_at=FIRST_INSTANT - timedelta(seconds=age),
    )
