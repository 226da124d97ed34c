from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.support.buses import Hub, open_redis_hub
from tests.support.private_servers import run_private
from tests.support.redis_server import PrivateRedis

PREFIX = "hub"


@pytest.fixture
async def server() -> AsyncIterator[PrivateRedis]:
    async with run_private(PrivateRedis) as server:
        yield server


@pytest.fixture
async def operator(server: PrivateRedis) -> AsyncIterator[Redis]:
    """Who does things to the server."""
    async with Redis.from_url(str(server.url)) as client:
        yield client


@pytest.fixture
async def hub(server: PrivateRedis) -> AsyncIterator[Hub]:
    """On that server."""
    async with open_redis_hub(str(server.url), PREFIX) as hub:
        yield hub
