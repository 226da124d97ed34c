"""Tests in which hours pass at once: an event loop that, when there is nothing to do, goes on to the next timer.

It waits for nothing outside, so it is for code whose processes, sockets and threads are fakes.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0. A loop that would wait for ever raises `AssertionError` out of the run."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_NeverWaits(self))

    def time(self) -> float:
        return self._now

    def pass_time(self, seconds: float | None) -> None:
        if seconds is None:
            raise AssertionError("everything waits, and for no timer")
        self._now += max(0.0, seconds)


class _NeverWaits(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)  # the loop wakes itself up by a socket
        if not ready:
            self._loop.pass_time(timeout)
        return ready


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Make an asynchronous test one that pytest runs as a plain function, in virtual time."""

    @wraps(test)
    def run() -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test())

    return run
