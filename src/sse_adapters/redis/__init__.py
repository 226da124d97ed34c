"""What the nodes of a hub share in Redis, and what goes through it from node to node."""

from sse_adapters.redis.bus import RedisBus
from sse_adapters.redis.connections import RedisConnections
from sse_adapters.redis.errors import UnusableRedis
from sse_adapters.redis.presence import RedisPresence
from sse_adapters.redis.shared import RedisShared
from sse_adapters.redis.unread_cache import RedisUnreadCache

__all__ = ["RedisBus", "RedisConnections", "RedisPresence", "RedisShared", "RedisUnreadCache", "UnusableRedis"]
