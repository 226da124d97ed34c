"""Faults that befall nodes and their database, while everybody sends and reads: the checker finds nothing.

The long ones are in `long_chaos`, for `make chaos`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.altered_hub import altered, clock_an_hour_fast
from tests.chaos.conftest import Report
from tests.chaos.faults import (
    kill_a_node,
    kill_a_worker,
    kill_and_watch,
    one_after_the_other,
    pause_and_watch,
    restart_database,
    stop_each_node_in_turn,
)
from tests.chaos.playing import play
from tests.chaos.readers import Ways
from tests.chaos.record import BROADCAST
from tests.chaos.senders import Load
from tests.chaos.world import LOAD, Cast, World, open_world
from tests.integration.service.test_outage import hub_database_on
from tests.support.hub_databases import hub_database
from tests.support.private_servers import PrivatePostgres, run_private
from tests.support.redis_server import redis_url
from tests.support.server_process import SSE_HUB

# Nobody gives up waiting for a node that is paused, so there must be some who don't wait for it yet.
MANY_SENDERS = Cast(load=replace(LOAD, senders=12, pause_seconds=1.0))

CROWD = Cast(
    ways=[Ways(name=f"reader {n}", user_id=f"user-{n}", groups=("lobby",), home=0) for n in range(1000)],
    load=Load(
        receivers=(BROADCAST, ("group", "lobby"), ("group", "team"), *(("user", f"user-{n}") for n in range(3))),
        senders=2,
        pause_seconds=0.3,
        batches=(1, 3),
    ),
    members=[(f"user-{n}", "team") for n in range(4)],
    marked=["user-0", "user-1"],
    counted=["user-0", "user-1", "user-2"],
    backlog=(),
)


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with hub_database("postgresql", tmp_path) as url:
        yield url


async def test_nodes_that_are_killed(url: str, tmp_path: Path, report: Report) -> None:
    async def kill_one_after_the_other(world: World) -> None:
        for node in world.nodes:
            await kill_and_watch(world, node)
            await world.run.progress.more_answered(30)

    await play(open_world(2, url, tmp_path, redis_url=redis_url()), kill_one_after_the_other, report)


async def test_a_node_that_is_killed_with_a_thousand_streams(url: str, tmp_path: Path, report: Report) -> None:
    async def kill_the_first(world: World) -> None:
        await kill_and_watch(world, world.nodes[0])
        await world.run.progress.more_answered(20)

    await play(open_world(2, url, tmp_path, redis_url=redis_url(), cast=CROWD), kill_the_first, report)


async def test_a_worker_that_is_killed(url: str, tmp_path: Path, report: Report) -> None:
    harm = one_after_the_other(kill_a_worker, kill_a_worker)
    await play(open_world(1, url, tmp_path, redis_url=redis_url(), workers=2), harm, report)


async def test_every_node_is_stopped_in_turn(tmp_path: Path, report: Report) -> None:
    async with hub_database("mysql", tmp_path) as url:
        await play(open_world(2, url, tmp_path, redis_url=redis_url()), stop_each_node_in_turn, report)


async def test_a_node_that_is_paused_for_longer_than_its_lease(url: str, tmp_path: Path, report: Report) -> None:
    await play(open_world(2, url, tmp_path, redis_url=redis_url(), cast=MANY_SENDERS), pause_and_watch(4.0), report)


async def test_a_database_that_is_restarted(tmp_path: Path, report: Report) -> None:
    async with run_private(PrivatePostgres) as database:
        url = await hub_database_on(database)
        faults = restart_database(database), restart_database(database, crash=True)
        await play(open_world(2, url, tmp_path, redis_url=redis_url()), one_after_the_other(*faults), report)


async def test_a_node_with_a_clock_that_is_an_hour_fast(url: str, tmp_path: Path, report: Report) -> None:
    async def nothing_more(world: World) -> None:
        with world.run.fault("clock an hour fast", []):
            await world.run.progress.more_answered(150)

    programs = [SSE_HUB, altered(clock_an_hour_fast)]
    await play(open_world(2, url, tmp_path, programs=programs, redis_url=redis_url()), nothing_more, report)


async def test_nodes_without_a_bus(tmp_path: Path, report: Report) -> None:
    """They learn of each other by their ticks alone; on one file, and one of them is killed."""
    async with hub_database("sqlite", tmp_path) as url:
        await play(open_world(2, url, tmp_path), kill_a_node, report)
