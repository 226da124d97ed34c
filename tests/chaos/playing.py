"""Plays a world with its faults to the end, has it checked, and tells what it was made of."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from tests.chaos.conftest import Report
from tests.chaos.summary import summary
from tests.chaos.world import Harm, World


async def play(opening: AbstractAsyncContextManager[World], harm: Harm, report: Report) -> World:
    """`opening` is a call of `open_world`."""
    async with opening as world:
        await world.play(harm)
        await world.check()
        report(f"{world.seconds:.1f} s; {summary(world.record)}")
        return world
