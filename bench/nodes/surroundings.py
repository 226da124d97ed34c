"""What nodes share: a database of one's own, and a Redis that nobody else uses."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis import Redis

from bench.databases.sites import empty_database, missing
from bench.process import cpu_seconds_of, memory_bytes_of
from bench.streams.targets import ENVIRONMENT
from tests.support.in_thread import in_thread
from tests.support.private_servers import run_private
from tests.support.redis_server import PrivateRedis
from tests.support.sql import query

# The longest that the setting allows: none comes amid a measurement.
NO_HEARTBEAT_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class RedisBooks:
    """What a Redis and the kernel say of it."""

    url: str
    pid: int

    def memory_bytes(self) -> int:
        """What it has allocated for its data and its clients, by its own account."""
        with Redis.from_url(self.url) as redis:
            return int(redis.info("memory")["used_memory"])

    def process_bytes(self) -> int:
        """Proportional set size (PSS) of the process."""
        return memory_bytes_of(self.pid)

    def cpu_seconds(self) -> float:
        return cpu_seconds_of(self.pid)

    def pin_to(self, core: int) -> None:
        """Let it run on this core alone; its helper threads have nothing to do."""
        os.sched_setaffinity(self.pid, {core})

    def version(self) -> str:
        with Redis.from_url(self.url) as redis:
            return str(redis.info("server")["redis_version"])


def database_kind() -> tuple[str, str | None]:
    """The kind of database to take, and why it is not the first choice."""
    reason = missing("postgresql")
    return ("postgresql", None) if reason is None else ("sqlite", reason)


def missing_redis() -> str | None:
    """Why there is no Redis to start; None if there is one."""
    if PrivateRedis.programs() is None:
        return "redis-server is not installed: scripts/install-test-tools installs it"
    return None


@asynccontextmanager
async def private_redis() -> AsyncIterator[RedisBooks]:
    """A Redis of one's own for the time of the block."""
    async with run_private(PrivateRedis) as server:
        yield RedisBooks(str(server.url), server.pid)


@asynccontextmanager
async def settings(
    kind: str, redis: RedisBooks | None, heartbeat_seconds: int = NO_HEARTBEAT_SECONDS
) -> AsyncIterator[Mapping[str, str]]:
    """The environment of the nodes of one hub, on a new database that is dropped at the end of the block."""
    async with empty_database(kind) as url:
        shared = {} if redis is None else {"SSE_REDIS_URL": redis.url}
        yield {
            **ENVIRONMENT,
            "SSE_DATABASE_URL": url,
            "SSE_HEARTBEAT_SECONDS": str(heartbeat_seconds),
            **shared,
        }


def recorded(environment: Mapping[str, str], seq: int) -> int:
    """How many users have been recorded as having been given everything up to `seq`."""
    statement = "SELECT count(*) FROM app_sse_delivered WHERE normal >= :seq"
    [(users,)] = in_thread(query(environment["SSE_DATABASE_URL"], statement, seq=seq))
    return int(users)
