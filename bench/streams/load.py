"""The load, seen from the benchmark: a process of its own on a core of its own, which holds the streams (load.c)."""

import subprocess
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.process import pinned_to

SOURCE = Path(__file__).with_name("load.c")
_COUNT_SECONDS = 60.0


class LoadFailedError(RuntimeError):
    """Streams could not be opened, ended, or did not bring the frames that they should have."""


@dataclass(frozen=True, slots=True)
class Receipts:
    """When each of the counted frames was read (nanoseconds of `time.monotonic_ns`), the number that its mark had, and
    the CPU seconds that the load has used since the mark was set.
    """

    times_ns: Sequence[int]
    numbers: Sequence[int]
    load_cpu_seconds: float

    def latencies_ms(self, began_ns: Sequence[int]) -> Sequence[float]:
        """From the moment that each number began at to its receipt, in rising order."""
        return sorted(
            (received - began_ns[number]) / 1e6 for received, number in zip(self.times_ns, self.numbers, strict=True)
        )


class StreamLoad:
    """Many open streams of one server. A context manager that closes them.

    Every call waits until it is done, and raises LoadFailedError if anything has gone wrong since the last.
    """

    def __init__(self, program: Path, port: int, opened: str, core: int | None) -> None:
        with pinned_to(core):
            self._process = subprocess.Popen(
                [program, str(port), opened], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        self.streams = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def open(self, paths: Sequence[str]) -> float:
        """Open more streams, one for each path; the seconds until all of them were open."""
        self.begin_opening(paths)
        return self.await_opening()

    def begin_opening(self, paths: Sequence[str]) -> None:
        """As `open`, but without waiting: several loads may be at it at the same time. Call `await_opening` next."""
        self._tell(f"open {len(paths)}", *paths)
        self.streams += len(paths)

    def await_opening(self) -> float:
        return self._answer() / 1e9

    def reconnect(self, count: int) -> None:
        """Close the `count` oldest streams and open them again."""
        self._ask(f"reconnect {count}")

    def mark(self, mark: str) -> None:
        """Count the frames with this mark that arrive from now on."""
        self._ask(f"mark {mark}")

    def count(self, expected: int, seconds: float = _COUNT_SECONDS) -> Receipts:
        """Wait, at most so many seconds, until so many frames have been counted."""
        cpu_ns = self._ask(f"count {expected} {seconds}")
        assert self._process.stdout is not None
        counted = int(self._process.stdout.readline())
        receipts = array("Q")
        receipts.frombytes(self._process.stdout.read(counted * 2 * receipts.itemsize))
        return Receipts(receipts[0::2], receipts[1::2], cpu_ns / 1e9)

    def check_each(self, times: int) -> None:
        """Raises LoadFailedError unless every open stream has been given so many frames with the mark."""
        self._ask(f"each {times}")

    def cpu_seconds(self) -> float:
        """The CPU time that the load has used. All that had arrived before the call has then been read."""
        return self._ask("cpu") / 1e9

    def _ask(self, line: str) -> int:
        self._tell(line)
        return self._answer()

    def _tell(self, *lines: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("".join(f"{line}\n" for line in lines).encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has failed since the last call, and said why

    def _answer(self) -> int:
        assert self._process.stdout is not None
        kind, _, rest = self._process.stdout.readline().decode(errors="replace").strip().partition(" ")
        if kind in ("failed", ""):
            raise LoadFailedError(rest or "the load process has died")
        return int(rest)
