"""The ways to a Redis that a URL may name: TLS and sockets, for commands and for the bus alike."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ConnectionError as Disconnected

from sse_adapters.redis import RedisConnections
from tests.integration.redis.conftest import PREFIX
from tests.support.buses import hear_each_other, logged, open_redis_hub
from tests.support.private_servers import run_private
from tests.support.redis_kinds import SLOTS, SocketRedis, TlsClusterNode, TlsRedis, ask, eventually


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RedisConnections]:
    connections = RedisConnections(url, PREFIX)
    try:
        yield connections
    finally:
        await connections.close()


async def works(url: str) -> None:
    async with connected(url) as connections:
        await connections.client.set(connections.key("a"), "x")
        assert await connections.client.get(connections.key("a")) == b"x"
    async with open_redis_hub(url, PREFIX) as hub:
        ana, bob = await hub.nodes("ana", "bob")
        await hear_each_other(ana, bob, 1)


async def test_tls_with_a_certificate_that_is_known() -> None:
    async with run_private(TlsRedis) as server:
        await works(f"rediss://127.0.0.1:{server.port}?ssl_ca_certs={server.certificate}")


async def test_tls_with_any_certificate_if_that_is_wanted() -> None:
    async with run_private(TlsRedis) as server:
        await works(f"rediss://127.0.0.1:{server.port}?ssl_cert_reqs=none")


@pytest.mark.parametrize(("host", "options"), [("127.0.0.1", ""), ("localhost", "?ssl_ca_certs={}")])
async def test_tls_refuses_a_certificate_that_is_not_known_or_not_of_this_host(
    caplog: pytest.LogCaptureFixture, host: str, options: str
) -> None:
    async with run_private(TlsRedis) as server:
        url = f"rediss://{host}:{server.port}{options.format(server.certificate)}"
        async with connected(url) as connections:
            with pytest.raises(Disconnected, match="certificate"):
                await connections.client.get("a")
        async with open_redis_hub(url, PREFIX) as hub:
            ana = hub.node("ana")
            await ana.bus.start(ana.hear, ana.miss)
            await logged(caplog, logging.WARNING, 1)
            assert "certificate verify failed" in caplog.messages[0]
            assert ana.missed == 0


async def test_a_cluster_over_tls() -> None:
    async with run_private(TlsClusterNode) as node:
        await ask(node, "CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)

        async def serves() -> bool:
            return b"cluster_state:ok" in await ask(node, "CLUSTER", "INFO")

        await eventually(serves)
        await works(f"rediss+cluster://127.0.0.1:{node.port}?ssl_ca_certs={node.certificate}")


async def test_a_socket() -> None:
    async with run_private(SocketRedis) as server:
        await works(f"unix://{server.socket}?db=2")
