"""The bus while Redis, or the way to it, fails: it comes back by itself, says so, and costs its node nothing.

What was lost meanwhile is not the bus's to keep. That it may have been is: each node learns it from `missed`, and from
then on hears again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from sse_adapters.redis.bus import CANARIES, CANARY_SECONDS, CLOSE_SECONDS, LONGEST_PAUSE_SECONDS
from sse_adapters.redis.connections import TIMEOUT_SECONDS
from sse_adapters.redis.waiting import MAX_NOTES
from sse_adapters.redis.wire import address, envelope
from tests.integration.redis.conftest import PREFIX
from tests.support.buses import Hub, hear_each_other, logged, mark, missed_and_back, open_redis_hub
from tests.support.patience import within
from tests.support.redis_server import PrivateRedis
from tests.support.tcp_proxy import TcpProxy, run_proxy

CHANNEL = f"{{{PREFIX}}}:notes"
# A connection that says nothing is found out in this time, however busy this machine is.
NOTICED_SECONDS = (CANARIES + 1) * CANARY_SECONDS + 1
BACK_SECONDS = LONGEST_PAUSE_SECONDS + TIMEOUT_SECONDS + 1

CUT_OFF = "this node and the others don't hear each other"
PASSWORD = "p@ss/w?rd#%"
BACK = "this node and the others hear each other again"


@pytest.mark.parametrize("end", ["stop", "kill9"])
async def test_redis_is_restarted(server: PrivateRedis, hub: Hub, caplog: pytest.LogCaptureFixture, end: str) -> None:
    caplog.set_level(logging.DEBUG, "sse_hub.bus")
    nodes = ana, bob = await hub.nodes("ana", "bob")
    await hear_each_other(ana, bob, 1)
    await getattr(server, end)()
    await logged(caplog, logging.DEBUG, 8)  # so many attempts were in vain
    assert (ana.missed, bob.missed) == (1, 1), "nothing can be heard yet"
    assert not any(node.bus.health()["healthy"] for node in nodes)
    await server.start()
    await missed_and_back(ana, bob)
    await hear_each_other(ana, bob, 2)
    for node in nodes:
        assert node.bus.health()["reconnects"] == 1
        assert node.missed == 2
    # One line for the outage and one for its end, not one for each attempt.
    lines = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    assert [line.partition(":")[0] for line in lines[:2]] == [CUT_OFF] * 2
    assert [line.partition(",")[0] for line in lines[2:]] == [BACK] * 2


async def test_redis_comes_up_after_the_node(server: PrivateRedis, caplog: pytest.LogCaptureFixture) -> None:
    await server.stop()
    async with open_redis_hub(str(server.url), PREFIX) as hub:
        nodes = ana, bob = hub.node("ana"), hub.node("bob")
        async with within(0.5):
            for node in nodes:
                await node.bus.start(node.hear, node.miss)
                node.bus.tell(mark(1))
        assert not ana.bus.health()["healthy"]
        await server.start()
        for node in nodes:
            await node.until(lambda node=node: node.missed > 0)  # type: ignore[misc]
        await hear_each_other(ana, bob, 2)


async def test_redis_kills_the_connections_of_subscribers(hub: Hub, operator: Redis) -> None:
    ana, bob = await hub.nodes("ana", "bob")
    await hear_each_other(ana, bob, 1)
    assert await operator.client_kill_filter(_type="pubsub") == 2
    await missed_and_back(ana, bob)
    await hear_each_other(ana, bob, 2)


async def test_redis_stands_still(server: PrivateRedis, hub: Hub) -> None:
    ana, bob = await hub.nodes("ana", "bob")
    await hear_each_other(ana, bob, 1)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        ana.bus.tell(mark(2))
        for node in (ana, bob):
            await node.until_healthy(False)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    await missed_and_back(ana, bob)
    await hear_each_other(ana, bob, 3)


async def test_redis_forgets_everything(hub: Hub, operator: Redis) -> None:
    ana, bob = await hub.nodes("ana", "bob")
    await operator.flushall()
    await hear_each_other(ana, bob, 1)
    assert (ana.missed, bob.missed) == (1, 1)


async def test_redis_gives_a_slow_node_up(server: PrivateRedis, hub: Hub, operator: Redis) -> None:
    await operator.config_set("client-output-buffer-limit", "pubsub 4194304 0 0")
    ana, bob = await hub.nodes("ana", "bob")
    await hear_each_other(ana, bob, 1)
    slow = bob.bus._connection._transport  # type: ignore[attr-defined]
    slow.pause_reading()
    while "for overcoming of output buffer limits" not in server.log and bob.missed == 1:
        await operator.publish(CHANNEL, b"x" * 100_000)
    assert bob.missed == 1, "it came back by itself before Redis gave it up"
    slow.resume_reading()
    await missed_and_back(bob)
    assert ana.missed == 1
    await hear_each_other(ana, bob, 2)


@pytest.fixture
async def proxied(server: PrivateRedis) -> AsyncIterator[tuple[TcpProxy, Hub]]:
    async with run_proxy(server.url) as (proxy, url), open_redis_hub(url, PREFIX) as hub:
        yield proxy, hub


async def test_the_way_to_redis_swallows_everything(proxied: tuple[TcpProxy, Hub], hub: Hub) -> None:
    proxy, behind_proxy = proxied
    [ana], [bob] = await behind_proxy.nodes("ana"), await hub.nodes("bob")
    await hear_each_other(ana, bob, 1)
    proxy.blackhole()
    async with within(NOTICED_SECONDS):
        await ana.until_healthy(False)
    assert proxy.connections <= 1, "the dead connection is given up, not kept beside another"
    await proxy.heal()
    async with within(BACK_SECONDS):
        await missed_and_back(ana)
    await hear_each_other(ana, bob, 2)
    assert bob.missed == 1
    assert bob.bus.health()["healthy"]


async def test_the_way_to_redis_is_cut(proxied: tuple[TcpProxy, Hub], hub: Hub) -> None:
    proxy, behind_proxy = proxied
    [ana], [bob] = await behind_proxy.nodes("ana"), await hub.nodes("bob")
    proxy.cut()
    await missed_and_back(ana)
    await hear_each_other(ana, bob, 1)


async def test_what_was_on_its_way_when_the_way_was_cut_is_sent_again(proxied: tuple[TcpProxy, Hub], hub: Hub) -> None:
    proxy, behind_proxy = proxied
    [ana], [bob] = await behind_proxy.nodes("ana"), await hub.nodes("bob")
    await hear_each_other(ana, bob, 1)
    proxy.blackhole()
    ana.bus.tell(mark(2))
    await asyncio.sleep(0)  # it goes out at the end of this turn
    ana.bus.tell(mark(3))
    proxy.cut()
    await proxy.heal()
    await bob.until_heard(mark(3))
    assert bob.notes == [mark(1), mark(2), mark(3)]


async def test_a_dead_redis_neither_slows_its_node_down_nor_takes_its_memory(
    proxied: tuple[TcpProxy, Hub], hub: Hub
) -> None:
    proxy, behind_proxy = proxied
    [ana], [bob] = await behind_proxy.nodes("ana"), await hub.nodes("bob")
    await hear_each_other(ana, bob, 1)
    proxy.blackhole()
    took = []
    for number in range(10 * MAX_NOTES):
        began = time.thread_time()
        ana.bus.tell(mark(number))
        took.append(time.thread_time() - began)
    assert sorted(took)[-len(took) // 1000] < 0.005, "none is slow but those in which garbage is collected"
    assert ana.bus.health()["dropped"] == 9 * MAX_NOTES
    await proxy.heal()
    await ana.until_healthy()
    # What was told last is what was kept; and it is told as soon as that goes.
    await bob.until_heard(mark(10 * MAX_NOTES - 1))
    assert bob.notes[1:] == [mark(number) for number in range(9 * MAX_NOTES, 10 * MAX_NOTES)]


async def test_a_bus_is_closed_in_a_moment_also_when_redis_is_dead(proxied: tuple[TcpProxy, Hub]) -> None:
    proxy, behind_proxy = proxied
    ana, bob = await behind_proxy.nodes("ana", "bob")
    await hear_each_other(ana, bob, 1)
    proxy.blackhole()
    for node in (ana, bob):
        node.bus.tell(mark(2))
    async with within(CLOSE_SECONDS + 0.5):
        await ana.bus.close()
    await bob.until_healthy(False)
    async with within(0.5):  # what isn't connected has nothing to wait for
        await bob.bus.close()


async def test_a_connection_that_lives_is_kept_also_by_a_node_that_was_stopped(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sse_adapters.redis.bus.CANARY_SECONDS", 0.5)
    ana, bob = await hub.nodes("ana", "bob")
    too_long = 0.5 * 2 * CANARIES
    await asyncio.sleep(too_long)
    time.sleep(too_long)  # noqa: ASYNC251  (as SIGSTOP would)
    await hear_each_other(ana, bob, 1)
    assert (ana.missed, bob.missed) == (1, 1)


async def test_what_cannot_be_read_is_ignored_and_said_once(
    hub: Hub, operator: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    ana, bob = await hub.nodes("ana", "bob")
    for garbage in (b"", b"hello", b"\x02\x01a\x90", envelope(address("other"), [b"\xc1"]), "x" * 1_000_000):
        await operator.publish(CHANNEL, garbage)
    await hear_each_other(ana, bob, 1)
    assert [record.getMessage()[:30] for record in caplog.records] == ["what can't be read on the chan"] * 2
    for node in (ana, bob):
        assert node.bus.health()["ignored"] == 5
        assert node.missed == 1


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ("on >other", "WRONGPASS"),
        (f"on >{PASSWORD} &* +@all -publish", "can't run this command|no permissions to run the 'publish'"),
        (f"on >{PASSWORD} &elsewhere +@all", "No permissions to access a channel|no permissions to access"),
    ],
)
async def test_redis_refuses_the_node(
    server: PrivateRedis, operator: Redis, caplog: pytest.LogCaptureFixture, rules: str, why: str
) -> None:
    async def allow(*rules: str) -> None:
        await operator.execute_command("ACL", "SETUSER", "hub", "reset", *rules)  # type: ignore[no-untyped-call]

    await allow(*rules.split())
    url = server.url.set(username="hub", password=PASSWORD)
    async with open_redis_hub(url.render_as_string(hide_password=False), PREFIX) as hub:
        ana = hub.node("ana")
        await ana.bus.start(ana.hear, ana.miss)
        await logged(caplog, logging.WARNING, 1)
        assert not ana.bus.health()["healthy"]
        await allow("on", f">{PASSWORD}", "&*", "+@all")
        await ana.until_healthy()
    refused, back = [record.getMessage() for record in caplog.records]
    assert re.search(why, refused)
    assert PASSWORD not in refused
    assert back.startswith(BACK)
