"""The bus on a Redis Cluster: on the server that has its channel, wherever that goes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sse_adapters.redis import RedisConnections
from tests.integration.redis.conftest import PREFIX
from tests.support.buses import Hub, hear_each_other, missed_and_back, open_redis_hub
from tests.support.redis_kinds import PrivateCluster, ask, run_cluster

CHANNEL = f"{{{PREFIX}}}:notes"


@pytest.fixture
async def cluster() -> AsyncIterator[PrivateCluster]:
    async with run_cluster(CHANNEL) as cluster:
        yield cluster


@pytest.fixture
async def hub(cluster: PrivateCluster) -> AsyncIterator[Hub]:
    async with open_redis_hub(cluster.url, PREFIX) as hub:
        yield hub


async def test_only_the_server_of_the_channel_carries_notes(cluster: PrivateCluster, hub: Hub) -> None:
    ana, bob = await hub.nodes("ana", "bob")
    await hear_each_other(ana, bob, 1)
    assert ana.bus.health()["kind"] == "redis cluster"
    for node in cluster.masters:
        channels = await ask(node, "PUBSUB", "SHARDCHANNELS")
        assert channels == ([CHANNEL.encode()] if node is cluster.owner else [])


async def test_the_channel_moves_to_another_server(cluster: PrivateCluster, hub: Hub) -> None:
    ana, bob = await hub.nodes("ana", "bob")
    await hear_each_other(ana, bob, 1)
    now = await cluster.move_key()
    await missed_and_back(ana, bob)
    await hear_each_other(ana, bob, 2)
    assert await ask(now, "PUBSUB", "SHARDCHANNELS") == [CHANNEL.encode()]


async def test_the_server_of_the_channel_dies_and_its_replica_takes_over(cluster: PrivateCluster, hub: Hub) -> None:
    ana, bob = await hub.nodes("ana", "bob")
    await hear_each_other(ana, bob, 1)
    await cluster.owner.kill9()
    await cluster.taken_over()
    await missed_and_back(ana, bob)
    await hear_each_other(ana, bob, 2)
    assert await ask(cluster.spare, "PUBSUB", "SHARDCHANNELS") == [CHANNEL.encode()]


async def test_commands_find_their_server(cluster: PrivateCluster) -> None:
    connections = RedisConnections(cluster.url, PREFIX)
    try:
        keys = [connections.key(name) for name in ("a", "b", "c")]
        async with connections.client.pipeline() as pipeline:
            for key in keys:
                pipeline.set(key, "x")
            await pipeline.execute()
        assert await connections.client.exists(*keys) == 3
    finally:
        await connections.close()
        await connections.close()
