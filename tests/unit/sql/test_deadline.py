"""A deadline is kept by whatever it interrupts, and by nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from sse_adapters.sql import deadline
from sse_adapters.sql.deadline import Deadline
from sse_domain.errors import StoreUnavailable

AT_ONCE = 0.0


@pytest.fixture(autouse=True)
def again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "AGAIN_SECONDS", AT_ONCE)


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def deaf() -> None:
    """Goes on waiting, as `asyncio.wait_for` does on Python 3.11 if what it waits for is just there."""
    for _ in range(3):
        with suppress(asyncio.CancelledError):
            await forever()
    await forever()


async def slow_to_leave() -> None:
    try:
        await forever()
    finally:
        await forever()


async def fails_when_interrupted() -> None:
    try:
        await forever()
    except asyncio.CancelledError:
        raise StoreUnavailable("the connection was lost") from None


def cancellings() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


@pytest.mark.parametrize("block", [forever, deaf, slow_to_leave, fails_when_interrupted])
async def test_it_is_kept(block: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(TimeoutError):
        async with Deadline(AT_ONCE):
            await block()
    assert cancellings() == 0
    await asyncio.sleep(0)  # nothing is left that would cancel what comes after


@pytest.mark.parametrize("seconds", [60.0, None])
async def test_what_is_in_time_is_left_alone(seconds: float | None) -> None:
    async with Deadline(seconds):
        await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        async with Deadline(seconds):
            raise StoreUnavailable("for a reason of its own")


async def test_what_succeeds_late_has_succeeded() -> None:
    async with Deadline(AT_ONCE):
        with suppress(asyncio.CancelledError):
            await forever()
    assert cancellings() == 0


@pytest.mark.parametrize("seconds", [AT_ONCE, 60.0, None])
async def test_a_cancellation_from_outside_stays_one(seconds: float | None) -> None:
    inside = asyncio.Event()

    async def block() -> None:
        async with Deadline(seconds):
            inside.set()
            await slow_to_leave()

    task = asyncio.create_task(block())
    await inside.wait()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()


async def test_the_inner_of_two_is_told_from_the_outer() -> None:
    async with Deadline(60.0):
        with pytest.raises(TimeoutError):
            async with Deadline(AT_ONCE):
                await forever()
        await asyncio.sleep(0)
