"""The load in a process of its own, told what to do over a pipe."""

import gc
import multiprocessing
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from bench.load import LoadFailedError, Receipts, StreamLoad

_COUNT_SECONDS = 60.0
_STOP_SECONDS = 10.0


class LoadProcess:
    """The streams of one server, held by another process on a core of its own. A context manager.

    Every call waits until it is done, and raises `LoadFailedError` if the load has failed.
    """

    def __init__(self, port: int, opened: bytes, core: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, port, opened, core), daemon=True)
        self._process.start()
        theirs.close()
        self.streams = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join(_STOP_SECONDS)
        self._process.kill()

    def open(self, paths: Sequence[str]) -> None:
        """Open more streams, one for each path."""
        self._ask("open", list(paths))
        self.streams += len(paths)

    def reconnect(self, count: int) -> None:
        """Close the `count` oldest streams and open them again."""
        self._ask("reconnect", count)

    def begin_counting(self, mark: bytes) -> None:
        """Count the frames with this mark that arrive from now on."""
        self._ask("begin_counting", mark)

    def count(self, expected: int) -> Receipts:
        """Wait for so many frames with the mark."""
        receipts: Receipts = self._ask("count", expected, _COUNT_SECONDS)
        return receipts

    def _ask(self, command: str, *arguments: Any) -> Any:
        # A load that has failed since the last call has left its error in the pipe and is gone.
        with suppress(BrokenPipeError):
            self._pipe.send((command, arguments))
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise LoadFailedError("the load process has died") from None
        if isinstance(answer, LoadFailedError):
            raise answer
        return answer


def _run(pipe: Connection, port: int, opened: bytes, core: int) -> None:
    os.sched_setaffinity(0, {core})
    # Nothing here makes reference cycles, and a collection would walk every stream amid a measurement.
    gc.disable()
    # The other side closes the pipe when it has no more to ask.
    with suppress(EOFError), StreamLoad(port, opened, control=pipe.fileno()) as load:
        calls: dict[str, Callable[..., Any]] = {
            "open": load.open,
            "reconnect": load.reconnect,
            "begin_counting": load.begin_counting,
            "count": load.count,
        }
        try:
            while True:
                load.read_until_told()
                command, arguments = pipe.recv()
                pipe.send(calls[command](*arguments))
        except LoadFailedError as error:
            pipe.send(error)
