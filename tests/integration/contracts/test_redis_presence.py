"""Presence in Redis, past the contract: when Redis fails or forgets, and what is left in it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest

from sse_adapters.redis import presence as redis_presence
from sse_adapters.redis.presence import RedisPresence
from sse_domain.errors import NodesUnavailable
from sse_domain.ports import Presence
from tests.support.patience import within
from tests.support.presences import RedisHub, connection, open_redis_hub, open_redis_hub_at, report
from tests.support.private_servers import run_private
from tests.support.redis_kinds import eventually, run_cluster
from tests.support.redis_server import PrivateRedis

LEASE = 1000.0
A_MOMENT = 0.5  # for Redis to answer in

ALL_METHODS: dict[str, Callable[[Presence], Awaitable[object]]] = {
    "renew": lambda node: node.renew(report("a"), LEASE),
    "change": lambda node: node.change([connection("one")], ["two"]),
    "nodes": lambda node: node.nodes(),
    "users": lambda node: node.users(["ana"]),
    "group": lambda node: node.group("team", 10),
    "clients": lambda node: node.clients(None, 10),
    "audiences": lambda node: node.audiences([], [], []),
}


@pytest.fixture
async def hub() -> AsyncIterator[RedisHub]:
    async with open_redis_hub() as hub:
        yield hub


@pytest.fixture
async def private_redis() -> AsyncIterator[PrivateRedis]:
    async with run_private(PrivateRedis) as server:
        yield server


async def joined(hub: RedisHub, node_id: str, *connection_ids: str) -> RedisPresence:
    node = RedisPresence(hub.connections, node_id)
    await node.renew(report(node_id), LEASE)
    await node.change([connection(each, "ana", "team") for each in connection_ids], [])
    return node


async def knows(asker: Presence) -> set[str]:
    """The connections to other nodes, by what three kinds of keys say."""
    found = {info.connection_id for info in await asker.clients(None, 100)}
    assert (await asker.users(["ana"])).get("ana", 0) == len(found)
    assert (await asker.group("team", 100)).clients == sorted(found)
    assert (await asker.audiences([], [], [])).clients == len(found)
    return found


async def test_a_lease_ends_by_itself_and_not_too_soon(hub: RedisHub) -> None:
    asker, node = await joined(hub, "asker"), await joined(hub, "a", "one")
    before = monotonic()
    assert await node.renew(report("a"), 0.2)
    assert all([await hub.client.pttl(key) <= 200 for key in await hub.keys() if b":a:" in key])
    async with within(30):
        while await asker.nodes():
            pass
    assert monotonic() - before >= 0.2
    assert await knows(asker) == set()
    assert not await node.renew(report("a"), LEASE)


async def test_every_key_ends_with_the_leases(hub: RedisHub) -> None:
    nodes = [await joined(hub, node_id, f"{node_id} 1") for node_id in ("a", "b", "c")]
    await nodes[0].change([connection("late", "ana", "team")], ["a 1"])
    await nodes[1].renew(report("b"), 2 * LEASE)
    await nodes[2].renew(report("c"), 0)
    assert len(await hub.keys()) == 1 + 2 * 2
    for key in await hub.keys():
        assert 0 < await hub.client.pttl(key) <= 2 * LEASE * 1000
    await hub.pass_time(LEASE + 10)
    assert len(await hub.keys()) == 1 + 2
    await hub.pass_time(LEASE)
    assert await hub.keys() == []


async def test_the_index_of_nodes_does_not_grow(hub: RedisHub) -> None:
    """Whether nodes leave or are never heard of again."""
    stays = await joined(hub, "stays")
    for number in range(5):
        left, _lost = await joined(hub, f"{number}"), await joined(hub, f"lost {number}")
        await left.renew(report(f"{number}"), 0)
        assert await hub.client.zcard(hub.connections.key("nodes")) == 2
        await hub.pass_time(LEASE - 10)
        await stays.renew(report("stays"), LEASE)
        await hub.pass_time(20)
        await stays.renew(report("stays"), LEASE)
        assert await hub.client.zrange(hub.connections.key("nodes"), 0, -1) == [b"stays"]


@pytest.mark.parametrize("lost", [["clients"], ["index"], ["clients", "index"]])
@pytest.mark.parametrize("changes", [True, False])
async def test_a_node_learns_that_what_it_said_has_been_lost(hub: RedisHub, lost: list[str], changes: bool) -> None:
    asker, node = await joined(hub, "asker"), await joined(hub, "a", "one")
    await hub.client.delete(*(f"{hub.connections.key('nodes')}:a:{name}" for name in lost))
    if changes:
        await node.change([connection("two", "ana", "team")], [])
    for key in await hub.keys():
        assert await hub.client.pttl(key) > 0
    assert not await node.renew(report("a"), LEASE)
    assert await knows(asker) == set()
    await node.change([connection(each, "ana", "team") for each in ("one", "two")], [])
    assert await node.renew(report("a"), LEASE)
    assert await knows(asker) == {"one", "two"}


async def test_a_node_that_is_not_in_the_index_of_nodes_comes_back_with_all_it_said(hub: RedisHub) -> None:
    asker, node = await joined(hub, "asker"), await joined(hub, "a", "one")
    await hub.client.delete(hub.connections.key("nodes"))
    assert await node.renew(report("a"), LEASE)
    assert await asker.nodes() == [report("a")]
    assert await knows(asker) == {"one"}


async def test_a_node_learns_that_its_last_changes_have_been_lost(hub: RedisHub) -> None:
    """As when a replica takes over that did not have them yet."""
    asker, node = await joined(hub, "asker"), await joined(hub, "a", "one")
    keys = [key for key in await hub.keys() if b":a:" in key]
    earlier = [await hub.client.dump(key) for key in keys]
    await node.change([connection("two", "ana", "team")], [])
    assert await node.renew(report("a"), LEASE)
    for key, dumped in zip(keys, earlier, strict=True):
        await hub.client.restore(key, 1_000_000, dumped, replace=True)
    assert await knows(asker) == {"one"}
    assert not await node.renew(report("a"), LEASE)
    await node.change([connection("two", "ana", "team")], [])
    assert await knows(asker) == {"two"}


class Late:
    """Stands for a script whose call has not come through when its caller stops waiting."""

    def __init__(self) -> None:
        self.under_way: list[tuple[Any, ...]] = []

    async def __call__(self, *arguments: object) -> None:
        self.under_way.append(arguments)
        raise TimeoutError


@pytest.mark.parametrize("meanwhile", ["changed", "lost"])
async def test_a_change_that_comes_late_is_not_applied(
    hub: RedisHub, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    asker, node = await joined(hub, "asker"), await joined(hub, "a", "one")
    script, late = node._change_script, Late()
    with monkeypatch.context() as patched:
        patched.setattr(node, "_change_script", late)
        with pytest.raises(NodesUnavailable):
            await node.change([connection("late", "ana", "team")], ["one"])
    if meanwhile == "changed":
        await node.change([], ["late"])
    else:
        await hub.pass_time(LEASE + 10)
        assert not await node.renew(report("a"), LEASE)
    expected = await knows(asker)
    for arguments in late.under_way:
        await script(*arguments)
    assert await knows(asker) == expected


async def test_changes_are_applied_in_the_order_in_which_they_were_made(hub: RedisHub) -> None:
    asker, node = await joined(hub, "asker"), await joined(hub, "a")
    there, gone = [connection("one", "ana", "team")], ["one"]
    for _ in range(20):
        await asyncio.gather(node.change(there, []), node.change([], gone), node.change(there, []))
        assert await knows(asker) == {"one"}
        await asyncio.gather(node.change([], gone), node.change(there, []), node.change([], gone))
        assert await knows(asker) == set()
    # So many that they go in several parts.
    there = [connection(f"{number}", "ana", "team") for number in range(3000)]
    await asyncio.gather(node.change(there, []), node.change([], [info.connection_id for info in there]))
    assert await knows(asker) == set()


async def test_hubs_with_other_prefixes_are_strangers(hub: RedisHub) -> None:
    async with open_redis_hub() as other:
        await joined(hub, "a", "one")
        stranger = await joined(other, "b", "two")
        assert await stranger.nodes() == []
        assert await knows(stranger) == set()


async def test_what_another_version_says_otherwise_is_left_out(hub: RedisHub) -> None:
    asker, node = await joined(hub, "asker"), await joined(hub, "a", "one")
    await joined(hub, "b", "two")
    clients = f"{hub.connections.key('nodes')}:a:clients"
    await hub.client.hset(clients, "one", b"\xc1")
    await hub.client.hset(clients, "\0report", b"\x93\x01\x02\x03")
    assert [info.connection_id for info in await asker.clients(None, 10)] == ["two"]
    assert await asker.nodes() == [report("b")]
    assert await asker.audiences([], [], []) == (1, 1, 1)
    assert await node.renew(report("a"), LEASE)
    assert await asker.nodes() == [report("a"), report("b")]


async def test_of_very_many_the_same_count_serves_for_a_while(hub: RedisHub, monkeypatch: pytest.MonkeyPatch) -> None:
    asker, node = await joined(hub, "asker"), await joined(hub, "a", "one", "two")
    monkeypatch.setattr(redis_presence, "_COUNTED_AFRESH", 2)
    monkeypatch.setattr(redis_presence, "_SERVES_TIMES", 1_000_000)
    assert await asker.audiences(["own"], [], []) == (3, 1, 1)
    await node.change([connection("three", "bob")], [])
    assert await asker.audiences(["own"], [], []) == (4, 2, 1)
    await node.change([], ["three", "two"])
    assert await asker.audiences(["own"], [], []) == (4, 2, 1)
    monkeypatch.setattr(redis_presence, "_SERVES_TIMES", 0)
    assert await RedisPresence(hub.connections, "asker").audiences(["own"], [], []) == (2, 1, 1)


async def test_after_a_restart_everything_is_said_again(private_redis: PrivateRedis) -> None:
    async with open_redis_hub_at(str(private_redis.url)) as hub:
        asker, node = await joined(hub, "asker"), await joined(hub, "a", "one")
        await private_redis.restart()
        await node.change([connection("two", "ana", "team")], ["one"])
        assert not await node.renew(report("a"), LEASE)
        await node.change([connection("two", "ana", "team")], [])
        assert await knows(asker) == {"two"}


async def test_scripts_that_redis_has_forgotten_are_told_it_again(private_redis: PrivateRedis) -> None:
    async with open_redis_hub_at(str(private_redis.url)) as hub:
        asker, node = await joined(hub, "asker"), await joined(hub, "a", "one")
        for _ in range(2):
            await hub.client.script_flush()
            assert await node.renew(report("a"), LEASE)
            await hub.client.script_flush()
            await node.change([connection("two", "ana", "team")], [])
            await hub.client.script_flush()
            assert await knows(asker) == {"one", "two"}


@pytest.mark.parametrize("method", ALL_METHODS)
async def test_without_redis_every_call_says_so_and_the_log_once(
    private_redis: PrivateRedis, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    caplog.set_level(logging.INFO, "sse_hub.redis")
    async with open_redis_hub_at(str(private_redis.url)) as hub:
        await joined(hub, "b", "three")
        node = await joined(hub, "a", "one")
        await private_redis.stop()
        for _ in range(3):
            with pytest.raises(NodesUnavailable) as raised:
                await ALL_METHODS[method](node)
            assert raised.value.__cause__ is not None
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        await private_redis.start()
        await ALL_METHODS[method](node)
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("method", ALL_METHODS)
async def test_a_redis_that_hangs_is_not_waited_for(
    private_redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async with open_redis_hub_at(str(private_redis.url)) as hub:
        await joined(hub, "b", "three")
        node = await joined(hub, "a")
        os.kill(private_redis.pid, signal.SIGSTOP)
        try:
            with monkeypatch.context() as hasty:
                hasty.setattr(node._calls, "_seconds", A_MOMENT)
                async with within(2):
                    with pytest.raises(NodesUnavailable):
                        await ALL_METHODS[method](node)
        finally:
            os.kill(private_redis.pid, signal.SIGCONT)
        asker = await joined(hub, "asker")
        assert await node.renew(report("a"), LEASE)
        await node.change([connection("one", "ana", "team")], [])
        assert await knows(asker) == {"one", "three"}


async def test_on_a_cluster_it_goes_on_when_another_server_takes_over() -> None:
    async with run_cluster("{hub}") as cluster, open_redis_hub_at(cluster.url) as hub:
        asker, node = await joined(hub, "asker"), await joined(hub, "a", "one")
        await joined(hub, "b", "two")
        assert await node.renew(report("a"), LEASE)
        assert await asker.nodes() == [report("a"), report("b")]
        assert await knows(asker) == {"one", "two"}
        await node.change([], ["one"])
        assert await knows(asker) == {"two"}
        assert not await node.renew(report("a"), 0)
        assert await asker.nodes() == [report("b")]
        await cluster.owner.kill9()
        with pytest.raises(NodesUnavailable):
            await asker.nodes()
        await cluster.taken_over()

        async def answers() -> bool:
            with suppress(NodesUnavailable):
                await asker.nodes()
                return True
            return False

        await eventually(answers)
        node = await joined(hub, "a", "three")
        assert "three" in await knows(asker)
