"""What can go wrong with Redis, and the one place where its driver's errors are translated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from redis.exceptions import RedisClusterException, RedisError

from sse_domain.errors import NodesUnavailable, SseError

log = logging.getLogger("sse_hub.redis")

# What the driver raises. Some of a cluster's are no RedisError; OSError and TimeoutError are what some of its ways to a
# server let through, and so is what uvloop says of a connection that has just been closed: a RuntimeError.
REDIS_ERRORS = (RedisError, RedisClusterException, OSError, TimeoutError, RuntimeError)


class UnusableRedis(SseError):
    """The hub can't start on this Redis; `detail` says in one line why, and never a password."""

    code = "unusable_redis"


class RedisCalls:
    """How one adapter calls Redis: for `seconds` at most, with its errors translated. An outage is logged once, and not
    at each call: when it begins with the reason, which callers over HTTP don't learn, and when it has ended.

    `lost` says for the log what there is not meanwhile. `answered` is whether the last call was.
    """

    def __init__(self, seconds: float, lost: str) -> None:
        self._seconds = seconds
        self._lost = lost
        self.answered = True

    @asynccontextmanager
    async def limited(self) -> AsyncIterator[None]:
        """Raises NodesUnavailable for whatever the driver reports, and when the time is over."""
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except REDIS_ERRORS as error:
            if self.answered:
                self.answered = False
                log.warning("without Redis there is no %s: %s", self._lost, reason(error))
            raise NodesUnavailable("Redis did not answer") from error
        if not self.answered:
            self.answered = True
            log.info("Redis answers: there is %s again", self._lost)


@contextmanager
def usable_options() -> Iterator[None]:
    """Raises UnusableRedis for what redis-py says of its keyword arguments."""
    try:
        yield
    except (TypeError, ValueError, *REDIS_ERRORS) as error:
        raise UnusableRedis(f"the Redis URL has an option that can't be used: {error}") from None


def reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
