"""A Redis for tests, wherever it comes from, with a prefix for the keys of each; and private ones for faults.

The server is, first found first taken: the one that SSE_TEST_REDIS_URL names, one on the standard local port, a private
one started from the installed program. Where there is none, the test that asks skips and says what is missing; with
`CI=true` it fails. A server that was found is shared: it is never flushed, stopped or paused, nor its other keys seen.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

from redis import Redis, RedisError
from redis.asyncio import Redis as AsyncRedis
from sqlalchemy import URL

from tests.support.database_process import DatabaseProcess
from tests.support.in_thread import in_thread
from tests.support.missing import missing

_USUAL_URL = "redis://127.0.0.1:6379/0"
_ANSWER_SECONDS = 5.0


class PrivateRedis(DatabaseProcess):
    """A server of a test's own, for `run_private`. It writes nothing to disk: once stopped it has forgotten everything,
    and its scripts too."""

    product = "Redis"
    system_user = "redis"
    stop_signal = signal.SIGTERM
    removal_signal = signal.SIGKILL
    options: ClassVar[Mapping[str, str]] = {}  # of its configuration, for a subclass

    @classmethod
    def programs(cls) -> tuple[Path, Path] | None:
        server = shutil.which("redis-server")
        return (Path("/bin/mkdir"), Path(server)) if server else None

    @property
    def url(self) -> URL:
        """Where it is. As the text that clients take: `str(server.url)`."""
        return URL.create("redis", host="127.0.0.1", port=self.port, database="0")

    async def answers(self) -> bool:
        return await asyncio.to_thread(_answers, str(self.url))

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    @classmethod
    def initialisation(cls, data: Path) -> list[str]:
        make_directory, _ = cls.installed()
        return [str(make_directory), str(data)]

    def command(self, data: Path) -> list[str]:
        _, server = self.installed()
        # Of its data directory a cluster's node needs a file.
        settings = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(data), "save": "", **self.options}
        return [str(server), *(word for name, value in settings.items() for word in (f"--{name}", value))]


def redis_url() -> str:
    """A server that this run may use under prefixes of its own. Blocks while a private one is started."""
    with _lock:
        if not _found:
            _found.append(_find())
    if _found[0] is None:
        missing(
            "no Redis: SSE_TEST_REDIS_URL names none, none on 127.0.0.1:6379 lets us in without a password, and "
            "redis-server is not installed: scripts/install-test-tools installs it"
        )
    return _found[0]


@asynccontextmanager
async def redis_prefix(url: str | None = None) -> AsyncIterator[str]:
    """A prefix under which the server (by default `redis_url`) has no key; nor has it at the end of the block."""
    prefix = f"sse_test_{secrets.token_hex(8)}"
    try:
        yield prefix
    finally:
        async with AsyncRedis.from_url(url or redis_url()) as redis:
            # Keys may have the prefix in braces, which keep them on one node of a cluster.
            if keys := [key async for key in redis.scan_iter(match=f"*{prefix}*", count=1000)]:
                await redis.delete(*keys)


def end() -> None:
    """Remove this run's private server."""
    with _lock:
        _found.clear()
        while _private_servers:
            in_thread(_private_servers.pop().remove())


_lock = threading.Lock()
_found: list[str | None] = []  # one, once it was looked for; None when there is no server
_private_servers: list[PrivateRedis] = []


def _find() -> str | None:
    if given := os.environ.get("SSE_TEST_REDIS_URL"):
        with Redis.from_url(given) as redis:
            redis.ping()  # it was asked for: that it can't be reached is an error
        return given
    if _answers(_USUAL_URL):
        return _USUAL_URL
    if PrivateRedis.programs() is None:
        return None
    private = PrivateRedis()
    _private_servers.append(private)
    in_thread(private.start())
    return str(private.url)


def _answers(url: str) -> bool:
    """Whether a server lets us in, soon."""
    with Redis.from_url(url, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS) as redis:
        try:
            redis.ping()
        except (RedisError, OSError):
            return False
        return True
