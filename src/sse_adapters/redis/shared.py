"""What a node shares with the others of its hub, in one Redis."""

from __future__ import annotations

from sse_adapters.redis.bus import RedisBus
from sse_adapters.redis.connections import RedisConnections
from sse_adapters.redis.presence import RedisPresence
from sse_adapters.redis.unread_cache import RedisUnreadCache


class RedisShared:
    """Nothing is connected before it is used. Raises UnusableRedis for a URL or prefix that can't be used."""

    def __init__(self, url: str, prefix: str, node_id: str) -> None:
        self._connections = RedisConnections(url, prefix)
        self.bus = RedisBus(self._connections, node_id)
        self.presence = RedisPresence(self._connections, node_id)
        self.unread_cache = RedisUnreadCache(self._connections)

    async def close(self) -> None:
        """Tell what is still to be told, and close every connection. Idempotent."""
        await self.bus.close()
        await self._connections.close()
