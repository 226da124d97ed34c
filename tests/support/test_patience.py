"""Patience runs out while one waits, and only then."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.patience import within


async def test_it_runs_out() -> None:
    with pytest.raises(TimeoutError):
        async with within(0.1):
            await asyncio.Event().wait()


async def test_what_came_while_the_process_stood_still_is_in_time() -> None:
    arrived = asyncio.Event()
    asyncio.get_running_loop().call_later(0.2, arrived.set)
    async with within(0.1):
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251  (as a machine does that is busy elsewhere)
        await arrived.wait()


async def test_afterwards_nothing_is_left() -> None:
    async with within(0.05):
        pass
    await asyncio.sleep(0.2)
