"""A store whose every answer waits until the test lets it go, so that whatever else may happen happens in between.

A call waits twice: before the store does what it asks, and before the answer arrives. At either a call may fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container
from typing import Any, NamedTuple, TypeVar, cast

from sse_adapters.memory import MemoryStore
from sse_domain.errors import StoreUnavailable, Unavailable

EPOCH = "0a1b2c3d"

Port = TypeVar("Port")
Done = Callable[[str, tuple[Any, ...], Any], None]
"""Told what the store has just done: the method, its arguments, its answer."""


class Wait(NamedTuple):
    call: str
    answer: asyncio.Future[None]
    failure: type[Unavailable] | None


class Gates:
    """The calls that wait, oldest first. `open` lets everything through at once."""

    def __init__(self) -> None:
        self.open = False
        self.waiting: list[Wait] = []

    async def passing(self, call: str, failure: type[Unavailable] | None) -> None:
        if self.open:
            return
        wait = Wait(call, asyncio.get_running_loop().create_future(), failure)
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
        if fail and wait.failure is not None:
            wait.answer.set_exception(wait.failure("it does not answer"))
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


class _Gated:
    def __init__(self, port: object, gates: Gates, done: Done, failure: type[Unavailable] | None) -> None:
        self._port = port
        self._gates = gates
        self._done = done
        self._failure = failure

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._port, name)

        async def call(*arguments: Any) -> Any:
            await self._gates.passing(name, self._failure)
            answer = await method(*arguments)
            self._done(name, arguments, answer)
            await self._gates.passing(name, self._failure)
            return answer

        return call


def gated(port: Port, gates: Gates, done: Done, failure: type[Unavailable] | None = StoreUnavailable) -> Port:
    """`failure` is how its calls fail; with None they don't."""
    return cast("Port", _Gated(port, gates, done, failure))


class GatedStore:
    """One node's way to a memory store, behind gates. What is done to the store itself passes none."""

    def __init__(self, store: MemoryStore, gates: Gates, done: Done) -> None:
        self.log = gated(store.log, gates, done)
        self.inbox = gated(store.inbox, gates, done)
        self.subscriptions = gated(store.subscriptions, gates, done)
        self.retention = gated(store.retention, gates, done)
        self.stamps = gated(store.stamps, gates, done)
        self.outbox = store.outbox
        self.time = store.time
