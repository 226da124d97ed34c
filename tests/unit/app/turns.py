"""An event loop that a test runs turn by turn, and that keeps what goes wrong in it until the test looks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal

from tests.unit.app.gates import Gates

PATIENCE = 2_000  # turns that whatever is begun in these tests may take
MOMENT = 0.05  # seconds in which whoever waits for something that may come at once gives it up


class Turns:
    def __init__(self) -> None:
        self.gates = Gates()
        self.seconds = 0.0  # by the event loop's clock
        self.loop = asyncio.new_event_loop()
        self.loop.time = lambda: self.seconds  # type: ignore[method-assign]
        self.loop.set_exception_handler(self._failed)
        self._standing: dict[asyncio.Task[None], Rest] = {}
        self._wrong: list[BaseException] = []
        self._errors = _LoggedErrors(self._wrong)
        logging.getLogger("sse_hub").addHandler(self._errors)

    def close(self) -> None:
        logging.getLogger("sse_hub").removeHandler(self._errors)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self._turn()
        self._turn()
        self.loop.close()

    def watch(self, check: Callable[[], object]) -> None:
        """Check something from inside the node, which would take a failure for its own."""
        try:
            check()
        except Exception as error:
            self._wrong.append(error)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin work, in the background, that must not fail."""
        task = self.loop.create_task(work)
        task.add_done_callback(self._finished)
        return task

    def stand(self, work: Coroutine[Any, Any, None], rest: Rest) -> None:
        """Begin work without end, which is at rest while nothing sets `rest`."""
        self._standing[self.spawn(work)] = rest

    def turn(self, turns: int = 1) -> None:
        """Let the event loop run so many turns; what then waits for the store still waits."""
        for _ in range(turns):
            self._turn()
        if self._wrong:
            raise AssertionError(str(self._wrong[0])) from self._wrong[0]

    def do(self, act: Callable[[], object]) -> None:
        """Act inside the event loop, as whatever calls the node does."""
        self.loop.call_soon(act)
        self.turn()

    def settle(self) -> None:
        """Let the store answer everything, until nothing runs any more, nor would in a moment."""
        self.gates.open = True
        self.gates.let_all_go()
        for _ in range(PATIENCE):
            if not self._busy():
                self.seconds += MOMENT
                self._turn()
                self._turn()
                if not self._busy():
                    break
            self._turn()
            self.seconds += MOMENT / 100  # for whoever waits for another node's answer, which does not come
        self.gates.open = False
        assert not self._busy(), "something waits for ever"

    def _busy(self) -> bool:
        resting = all(rest.resting and not rest.is_set() for rest in self._standing.values())
        return not resting or len(asyncio.all_tasks(self.loop)) > len(self._standing)

    def _turn(self) -> None:
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def _finished(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._wrong.append(error)

    def _failed(self, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        self._wrong.append(context.get("exception") or AssertionError(context["message"]))


class Rest(asyncio.Event):
    """An event that is waited for by whoever has nothing to do."""

    resting = False

    async def wait(self) -> Literal[True]:
        self.resting = True
        try:
            return await super().wait()
        finally:
            self.resting = False


class _LoggedErrors(logging.Handler):
    """What the node logs as an error of its own is one."""

    def __init__(self, wrong: list[BaseException]) -> None:
        super().__init__(logging.ERROR)
        self._wrong = wrong

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[1] if record.exc_info else None
        self._wrong.append(cause or AssertionError(record.getMessage()))
