"""Faults of Redis and of the way to it, while everybody sends and reads: the checker finds nothing.

Redis only makes the nodes quick to know of each other. All that matters is in the database.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.chaos.conftest import Report
from tests.chaos.playing import play
from tests.chaos.redis_faults import FAULTS, harmed_redis
from tests.chaos.world import open_world
from tests.support.hub_databases import hub_database

SECONDS = 2.0


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_redis(fault: str, tmp_path: Path, report: Report) -> None:
    # So long it takes for a way that swallows everything to be noticed.
    seconds = 6.0 if fault == "blackhole" else SECONDS
    async with (
        hub_database("postgresql", tmp_path) as url,
        harmed_redis(Random(fault), seconds=seconds) as redis,
    ):
        # Among three, notes of one node can be missing between those of another.
        await play(
            open_world(3 if fault == "disarrange" else 2, url, tmp_path, redis_url=redis.url),
            redis.fault(fault),
            report,
        )
