"""The harness counts only once it has been seen to fail: nodes with a bug, a fault that brings it to light, and a
checker that says what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.chaos import altered_hub
from tests.chaos.conftest import Report
from tests.chaos.faults import Fault
from tests.chaos.laws.evidence import LEARN_SECONDS
from tests.chaos.playing import play
from tests.chaos.redis_faults import HarmedRedis, harmed_redis
from tests.chaos.world import Cast, World, open_world
from tests.support.hub_databases import hub_database


def disarray(redis: HarmedRedis) -> Fault:
    return redis.disarrange


def without_redis(redis: HarmedRedis) -> Fault:
    """To the end: nothing is heard any more."""

    async def stop(world: World) -> None:
        await redis.server.stop()

    return stop


def without_harm(redis: HarmedRedis) -> Fault:
    async def wait(world: World) -> None:
        await world.run.progress.more_answered(200)

    return wait


def long_without_harm(redis: HarmedRedis) -> Fault:
    """For twice as long as a node may take to learn of what was done elsewhere."""

    async def wait(world: World) -> None:
        await asyncio.sleep(2 * LEARN_SECONDS)

    return wait


# Which law each breaks, and under which fault. Those after the first three are left to `long_chaos`.
SEEN: dict[Callable[[], None], tuple[str, Callable[[HarmedRedis], Fault]]] = {
    altered_hub.holes_are_passed_over: ("nothing_is_missed", disarray),
    altered_hub.cursors_are_level: ("complete_is_complete", without_harm),
    altered_hub.doubled_notes_are_given_twice: ("ephemeral_at_most_once", disarray),
    altered_hub.ticks_are_skipped: ("who_stays_is_served", without_redis),
    altered_hub.leaving_is_not_noticed: ("only_its_own", long_without_harm),
    altered_hub.the_machines_clock_counts: ("time_is_the_stores", without_harm),
}
SHORT = Cast(end_seconds=5.0)
FIRST, MORE = list(SEEN)[:3], list(SEEN)[3:]


async def check_seen(bug: Callable[[], None], directory: Path, report: Report) -> None:
    law, harm = SEEN[bug]
    async with hub_database("postgresql", directory) as url, harmed_redis(Random(law), seconds=2.0) as redis:
        programs = [altered_hub.altered(bug)]
        with pytest.raises(AssertionError, match=rf"(?m)^{law}: "):
            await play(
                open_world(3, url, directory, programs=programs, redis_url=redis.url, cast=SHORT), harm(redis), report
            )


@pytest.mark.parametrize("bug", FIRST, ids=lambda bug: bug.__name__)
async def test_a_seeded_bug_is_seen(bug: Callable[[], None], tmp_path: Path, report: Report) -> None:
    await check_seen(bug, tmp_path, report)
