"""The long runs, for `make chaos`: every fault at once and at random, and each of them for longer.

`make chaos ARGS="--seed 7 --seconds 300"` runs the first with these dice, for as long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.chaos.conftest import Report
from tests.chaos.faults import (
    Fault,
    end_connections,
    kill_a_node,
    kill_a_worker,
    one_after_the_other,
    pause_a_node,
    restart_database,
    stop_a_node,
    stop_each_node_in_turn,
)
from tests.chaos.playing import play
from tests.chaos.redis_faults import FAULTS, harmed_redis
from tests.chaos.test_seeded_bugs import MORE, check_seen
from tests.chaos.world import LOAD, Cast, World, open_world
from tests.integration.service.test_outage import hub_database_on
from tests.support.database_process import DatabaseProcess
from tests.support.hub_databases import hub_database
from tests.support.private_servers import PrivateMariaDb, PrivatePostgres, run_private
from tests.support.redis_server import redis_url

CALM = Cast(load=replace(LOAD, senders=6, pause_seconds=0.4))


def at_random(*kinds: Sequence[Fault], seconds: float) -> Fault:
    """One fault of each kind after the other, of all kinds at the same time, for so long."""

    async def befall(world: World) -> None:
        over = world.run.clock.now() + seconds

        async def befall_by(faults: Sequence[Fault]) -> None:
            while world.run.clock.now() < over:
                await asyncio.sleep(world.dice.uniform(0, 3))
                await world.dice.choice(faults)(world)

        async with asyncio.TaskGroup() as tasks:
            for faults in kinds:
                tasks.create_task(befall_by(faults))

    return befall


@pytest.mark.parametrize("kind", [PrivatePostgres, PrivateMariaDb])
async def test_all_faults_at_random(
    kind: type[DatabaseProcess], seed: int, seconds: float, tmp_path: Path, report: Report
) -> None:
    print(f"\nseed {seed}")
    async with run_private(kind) as database, harmed_redis(Random(seed), seconds=3.0) as redis:
        url = await hub_database_on(database)
        harm = at_random(
            [kill_a_node, stop_a_node, pause_a_node(6.0)],
            [restart_database(database), restart_database(database, crash=True), end_connections(url)],
            [redis.fault(name) for name in FAULTS],
            seconds=seconds,
        )
        await play(open_world(3, url, tmp_path, seed=seed, redis_url=redis.url, cast=CALM), harm, report)


async def test_each_fault_of_redis_after_the_other(seed: int, tmp_path: Path, report: Report) -> None:
    async with hub_database("mysql", tmp_path) as url, harmed_redis(Random(seed), seconds=3.0) as redis:
        harm = one_after_the_other(*(redis.fault(name) for name in FAULTS))
        await play(open_world(3, url, tmp_path, seed=seed, redis_url=redis.url, cast=CALM), harm, report)


async def test_workers_that_are_killed_and_nodes_that_are_stopped_in_turn(
    seed: int, tmp_path: Path, report: Report
) -> None:
    async with hub_database("postgresql", tmp_path) as url:
        harm = one_after_the_other(kill_a_worker, stop_each_node_in_turn, kill_a_worker)
        await play(open_world(2, url, tmp_path, seed=seed, redis_url=redis_url(), workers=2, cast=CALM), harm, report)


@pytest.mark.parametrize("bug", MORE, ids=lambda bug: bug.__name__)
async def test_a_seeded_bug_is_seen(bug: Callable[[], None], tmp_path: Path, report: Report) -> None:
    await check_seen(bug, tmp_path, report)
