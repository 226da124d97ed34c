"""A server process that is measured: alone on a core, and read from outside through the kernel's books."""

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Self

_LISTENING = re.compile(r"listening on http://([0-9.]+):(\d+)")
_START_SECONDS = 30.0
_POLL_SECONDS = 0.02
_REST_SECONDS = 60.0
_IDLE_SECONDS = 0.02
_IDLE_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Cores:
    """Where things run: the server alone on one core, the load and the publisher on the other."""

    server: int
    client: int

    @classmethod
    def available(cls) -> Self:
        """The first and the last core that this process may use; the same one twice if it has only one."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[0], cores[-1])


@contextmanager
def pinned_to(core: int | None) -> Iterator[None]:
    """Run the block, and whatever it starts, on one core; with None wherever it would run otherwise."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if core is None else {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class MeasuredServer:
    """A server in a process of its own, and that one's children. A context manager: it runs inside.

    It must print or log `listening on http://ADDRESS:PORT` and answer `GET /health/ready` with 200. What it
    writes goes to `server.log` in `directory`, where it also runs.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], directory: Path, core: int | None
    ) -> None:
        self._command = command
        self._environment = dict(environment)
        self._directory = directory
        self._core = core
        self._log = directory / "server.log"
        self.port = 0

    def __enter__(self) -> Self:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SSE_")}
        with self._log.open("wb") as log, pinned_to(self._core):
            self._process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=inherited | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._await_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if error is not None and self.log_end():
            error.add_note(f"the server's log ends with:\n{self.log_end()}")

    @contextmanager
    def connect(self) -> Iterator[HTTPConnection]:
        """A keep-alive connection to the server."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_START_SECONDS)
        try:
            yield connection
        finally:
            connection.close()

    def cpu_seconds(self) -> float:
        """User and system time used so far, all threads, children included, to the nanosecond."""
        return sum(map(cpu_seconds_of, self.pids()))

    def cpu_seconds_at_rest(self) -> float:
        """`cpu_seconds` once what was asked of the server before has been done: it has fallen idle."""
        deadline = time.monotonic() + _REST_SECONDS
        before = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(_IDLE_SECONDS)
            now = self.cpu_seconds()
            if now - before < _IDLE_SHARE * _IDLE_SECONDS:
                return now
            before = now
        raise TimeoutError(f"the server was still busy after {_REST_SECONDS} s")

    def memory_bytes(self) -> int:
        """Proportional set size (PSS), children included: what would be free without the server."""
        return sum(map(memory_bytes_of, self.pids()))

    def log_end(self) -> str:
        """The last 2,000 characters that the server has written."""
        return self._log.read_text(errors="replace")[-2000:].strip()

    def pids(self) -> list[int]:
        """Its own process id, and those of its children."""
        found = [self._process.pid]
        for pid in found:
            with suppress(FileNotFoundError):  # it, or one of its threads, has ended meanwhile
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += map(int, (task / "children").read_text().split())
        return found

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with {self._process.returncode}: {self.log_end()}")
            if self.port == 0 and (listening := _LISTENING.search(self._log.read_text(errors="replace"))):
                self.port = int(listening[2])
            if self.port and self._answers_ready():
                return
            time.sleep(_POLL_SECONDS)
        raise TimeoutError(f"the server was not ready within {_START_SECONDS} s: {self.log_end()}")

    def _answers_ready(self) -> bool:
        with self.connect() as connection:
            try:
                connection.request("GET", "/health/ready")
                return connection.getresponse().status == 200
            except OSError:
                return False

    def _stop(self) -> None:
        # Nothing is measured any more, so there is nothing that an orderly end would be good for.
        if self._process.poll() is None:
            _kill(self.pids())
        self._process.wait()


def _kill(pids: Sequence[int]) -> None:
    """Kill them, and wait until they have ended, children of others too."""
    with ExitStack() as opened:
        killed = select.poll()
        waiting = 0
        for pid in pids:
            with suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)
                opened.callback(os.close, handle)
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                killed.register(handle, select.POLLIN)
                waiting += 1
        while waiting:
            for handle, _ in killed.poll():
                killed.unregister(handle)
                waiting -= 1


def cpu_seconds_of(pid: int) -> float:
    """User and system time that a process has used so far, all threads, to the nanosecond."""
    # The clock id that clock_getcpuclockid(3) makes of a process id; /proc/PID/stat has only 10 ms ticks.
    return time.clock_gettime((~pid << 3) | 2)


def memory_bytes_of(pid: int) -> int:
    """A process's proportional set size (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"the kernel does not tell the memory of process {pid}")
