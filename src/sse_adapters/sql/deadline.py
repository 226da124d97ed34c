"""A time-out that insists.

`asyncio.timeout` cancels once. A driver may lose that if it comes just when what the driver waits for is there
(`asyncio.wait_for` before Python 3.12, gh-86296), and then it waits for ever. Or it takes its time to say good-bye to a
server that does not answer. So this cancels again and again, until it is heard.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

AGAIN_SECONDS = 0.1


class Deadline:
    """`async with Deadline(seconds)`: raises TimeoutError if the block takes longer, whatever it then fails with.

    One that succeeds all the same has succeeded. With None there is no bound.
    """

    __slots__ = ("_cancelled", "_cancelling_before", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._cancelled = 0
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling_before = task.cancelling()
        if self._seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._cancel)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for _ in range(self._cancelled):
            self._task.uncancel()
        if not self._cancelled or self._task.cancelling() > self._cancelling_before:  # by somebody else
            return
        if isinstance(error, Exception | asyncio.CancelledError):
            raise TimeoutError from error

    def _cancel(self) -> None:
        self._cancelled += 1
        self._task.cancel()
        self._timer = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._cancel)
