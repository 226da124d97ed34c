"""Faults, each for a world while it plays. Every one leaves all nodes up, and is in the record while it lasts."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Awaitable, Callable

from tests.chaos.readers import BEAT_SECONDS
from tests.chaos.world import World
from tests.integration.service.database_faults import DatabaseFaults
from tests.support.database_process import DatabaseProcess
from tests.support.http import HubApi, open_api
from tests.support.patience import within
from tests.support.server_process import ServerProcess

GRACE_SECONDS = 0.7  # beside two heartbeats, and less than a third: what it said last is on its way to Redis
BACK_SECONDS = 30.0
LOOK_SECONDS = 0.05
STARTS = 30
STORE_AWAY = re.compile(r"^sse-hub: \w+\+\w+://", re.MULTILINE)  # its complaint, when it ends at its start

Fault = Callable[[World], Awaitable[None]]


def chosen(world: World) -> ServerProcess:
    return world.dice.choice(world.nodes)


async def come_back(node: ServerProcess) -> None:
    """Start it again, as its supervisor would: again and again, while its database can't be reached."""
    for _ in range(STARTS):
        try:
            await node.restart_on_same_port()
        except AssertionError:
            if not STORE_AWAY.search(node.log):
                raise
            await node.stop()
        else:
            return
    raise AssertionError(node.log)


async def kill_a_node(world: World) -> None:
    """kill -9, and a new start a little later."""
    node = chosen(world)
    with world.run.fault("node killed", [node.base_url]):
        await node.kill9()
        await asyncio.sleep(world.dice.uniform(0, 1))
        await come_back(node)


async def kill_and_watch(world: World, node: ServerProcess) -> None:
    """Likewise; and the others see that it is gone within two heartbeats."""
    with world.run.fault("node killed", [node.base_url]):
        node_id = await node_id_of(node)
        await node.kill9()
        await until_gone(world, node, node_id)
        await come_back(node)


async def kill_a_worker(world: World) -> None:
    """kill -9 of one of a node's processes, which its supervisor replaces."""
    node = chosen(world)
    number, pid = world.dice.choice(sorted(node.workers.items()))
    serves = rf"worker {number} \(pid \d+\) serves"
    served = len(re.findall(serves, node.log))
    with world.run.fault("worker killed", [node.base_url]):
        os.kill(pid, signal.SIGKILL)
        await node.logged(serves, served + 1)


async def stop_a_node(world: World) -> None:
    """SIGTERM, exit status 0, and a new start."""
    await _stop(world, chosen(world))


async def stop_each_node_in_turn(world: World) -> None:
    """A rolling restart."""
    for node in world.nodes:
        await _stop(world, node)
        await world.run.progress.more_answered(30)


async def _stop(world: World, node: ServerProcess) -> None:
    with world.run.fault("node stopped and started", [node.base_url]):
        assert await node.terminate() == 0, node.log
        await come_back(node)


def pause_a_node(seconds: float) -> Fault:
    """SIGSTOP, for as long, and SIGCONT."""

    async def pause(world: World) -> None:
        node = chosen(world)
        with world.run.fault("node paused", [node.base_url]):
            node.suspend()
            await asyncio.sleep(seconds)
            node.resume()

    return pause


def pause_and_watch(seconds: float) -> Fault:
    """Likewise, for longer than its lease: the others see that it is gone, and that it is back."""

    async def pause(world: World) -> None:
        node = chosen(world)
        with world.run.fault("node paused", [node.base_url]):
            node_id, begun = await node_id_of(node), world.run.clock.now()
            node.suspend()
            await until_gone(world, node, node_id)
            await asyncio.sleep(begun + seconds - world.run.clock.now())
            node.resume()
        await until_back(world, node, node_id)

    return pause


async def node_id_of(node: ServerProcess) -> str:
    async with open_api(node.base_url) as api:
        node_id: str = (await api.info())["node_id"]
        return node_id


async def until_gone(world: World, node: ServerProcess, node_id: str) -> None:
    """Two heartbeats after it last said anything, the others say that it is gone: that is a promise."""
    await asyncio.sleep(2 * BEAT_SECONDS + GRACE_SECONDS)
    for other in world.nodes:
        if other is not node:
            async with open_api(other.base_url) as api:
                assert not await _knows(api, node_id), f"{node_id} is still there for others"


async def until_back(world: World, node: ServerProcess, node_id: str) -> None:
    """Until the others say that it is there again."""
    async with within(BACK_SECONDS):
        for other in world.nodes:
            if other is not node:
                async with open_api(other.base_url) as api:
                    while not await _knows(api, node_id):  # noqa: ASYNC110  (found only by asking)
                        await asyncio.sleep(LOOK_SECONDS)


async def _knows(api: HubApi, node_id: str) -> bool:
    return node_id in [node["node_id"] for node in (await api.info())["nodes"]]


def end_connections(database_url: str) -> Fault:
    """An administrator ends some of the connections to the database, whatever is under way on them."""
    database = DatabaseFaults(database_url)

    async def end(world: World) -> None:
        with world.run.fault("connections to the database ended"):
            await database.kill_connections(world.dice)

    return end


def restart_database(database: DatabaseProcess, *, crash: bool = False) -> Fault:
    """Stop it, in order or by kill -9, and start it again once that has been felt."""

    async def restart(world: World) -> None:
        with world.run.fault("database killed" if crash else "database restarted"):
            await (database.kill9() if crash else database.stop())
            await world.run.progress.more_failed(3)
            await database.start()

    return restart


def one_after_the_other(*faults: Fault, sends: int = 30) -> Fault:
    """In a random order, with so many sends between them."""

    async def befall(world: World) -> None:
        for fault in world.dice.sample(faults, len(faults)):
            await fault(world)
            await world.run.progress.more_answered(sends)

    return befall
