"""A store whose every answer waits until the test lets it go, so that whatever else may happen happens in between.

A call waits twice: before the store does what it asks, and before the answer arrives. At either a call may fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container
from typing import Any, NamedTuple, TypeVar, cast

from sse_adapters.memory import MemoryStore
from sse_domain.errors import StoreUnavailable

EPOCH = "0a1b2c3d"

Port = TypeVar("Port")
Done = Callable[[str, tuple[Any, ...], Any], None]
"""Told what the store has just done: the method, its arguments, its answer."""


class Wait(NamedTuple):
    call: str
    answer: asyncio.Future[None]
    may_fail: bool


class Gates:
    """The calls that wait, oldest first. `open` lets everything through at once."""

    def __init__(self) -> None:
        self.open = False
        self.waiting: list[Wait] = []

    async def passing(self, call: str, *, may_fail: bool) -> None:
        if self.open:
            return
        wait = Wait(call, asyncio.get_running_loop().create_future(), may_fail)
        self.waiting.append(wait)
        try:
            await wait.answer
        finally:
            if wait in self.waiting:
                self.waiting.remove(wait)

    def let_go(self, index: int, *, fail: bool = False) -> None:
        """Let the call that has waited so long go on, or fail."""
        wait = self.waiting.pop(index)
        if wait.answer.done():  # its caller was cancelled
            return
        if fail and wait.may_fail:
            wait.answer.set_exception(StoreUnavailable("the store does not answer"))
        else:
            wait.answer.set_result(None)

    def let_all_go(self) -> None:
        while self.waiting:
            self.let_go(0)

    def fail(self, calls: Container[str]) -> None:
        """Every one of these calls fails."""
        for index in reversed(range(len(self.waiting))):
            if self.waiting[index].call in calls:
                self.let_go(index, fail=True)


# Whether a membership was changed must be known to whoever changes it: these may fail only before.
_FAIL_BEFORE_ONLY = ("join", "leave")


class _Gated:
    def __init__(self, port: object, gates: Gates, done: Done) -> None:
        self._port = port
        self._gates = gates
        self._done = done

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._port, name)

        async def call(*arguments: Any) -> Any:
            await self._gates.passing(name, may_fail=True)
            answer = await method(*arguments)
            self._done(name, arguments, answer)
            await self._gates.passing(name, may_fail=name not in _FAIL_BEFORE_ONLY)
            return answer

        return call


def gated(port: Port, gates: Gates, done: Done) -> Port:
    return cast("Port", _Gated(port, gates, done))


class GatedStore:
    """The memory store behind gates. `real` has none: what another process does goes there."""

    def __init__(self, gates: Gates, done: Done) -> None:
        self.real = MemoryStore(epoch=EPOCH)
        self.log = gated(self.real.log, gates, done)
        self.inbox = gated(self.real.inbox, gates, done)
        self.subscriptions = gated(self.real.subscriptions, gates, done)
        self.retention = gated(self.real.retention, gates, done)
        self.outbox = self.real.outbox
        self.time = self.real.time
