"""A worker's process, seen from both its ends: as the supervisor starts and watches it, and as it looks back.

Between them are two pipes. One the worker writes to: a line when it serves (an empty one) or why it does not; and it
ends with the worker, however that ends. The other is never written to: it ends with the supervisor, so that a worker
notices if that is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from sse_app.listening import SharedAddress
from sse_app.supervisor import NotServing, Worker, Workers, ending


class WorkerProcesses(Workers):
    """Starts workers by `command` with one more argument, an Assignment. Needs a running event loop."""

    def __init__(self, address: SharedAddress, command: Sequence[str]) -> None:
        self._address = address
        self._command = command
        self._seen_by_workers, self._held_here = os.pipe()

    def start(self, number: int) -> WorkerProcess:
        try:
            listener = self._address.socket_of(number)
            reports, report = os.pipe()
        except OSError as error:
            raise NotServing(f"can't have a socket and a pipe: {error.strerror}") from error
        given = Assignment(number, listener.fileno(), supervisor=self._seen_by_workers, report=report)
        # A Ctrl-C reaches every process of the terminal. The worker waits with it until it knows what to do about it.
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = subprocess.Popen(  # noqa: S603 - it is this very program
                [*self._command, str(given)], pass_fds=given[1:], stdin=subprocess.DEVNULL
            )
        except OSError as error:
            os.close(reports)
            raise NotServing(f"can't start a process: {error.strerror}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
            os.close(report)
        return WorkerProcess(process, reports)

    def release(self, number: int) -> None:
        self._address.release(number)

    def close(self) -> None:
        self._address.close()


class WorkerProcess(Worker):
    """A process that was started, and the descriptor from which its reports are read, which is closed in the end."""

    def __init__(self, process: subprocess.Popen[bytes], reports: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.pid = process.pid
        self.serving = self._loop.create_future()
        self.ended = self._loop.create_future()
        self._process = process
        self._reports = reports
        self._reported = b""
        self._loop.add_reader(reports, self._read)

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def _read(self) -> None:
        read = os.read(self._reports, 4096)
        self._reported += read
        if b"\n" in self._reported and not self.serving.done():
            self.serving.set_result(self._reported.partition(b"\n")[0].decode(errors="replace"))
        if not read:
            self._loop.remove_reader(self._reports)
            os.close(self._reports)
            status = self._process.wait()  # it is ending: nothing else closes the pipe
            if not self.serving.done():
                self.serving.set_result(f"the process ended before it served: {ending(status)}")
            self.ended.set_result(status)


class Assignment(NamedTuple):
    """What a worker is given when it is started: its number, and three descriptors. As text it is an argument."""

    number: int
    listener: int
    supervisor: int
    report: int

    def __str__(self) -> str:
        return ",".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> Assignment:
        """Raises ValueError."""
        number, listener, supervisor, report = map(int, text.split(","))
        return cls(number, listener, supervisor, report)

    def socket(self) -> socket.socket:
        """The bound socket that the worker is to serve."""
        return socket.socket(fileno=self.listener)

    def report_serving(self) -> None:
        self.report_failure("")

    def report_failure(self, reason: str) -> None:
        """Tell the supervisor, if it is still there, in one line why this worker can't serve."""
        with suppress(BrokenPipeError):
            os.write(self.report, " ".join(reason.splitlines()).encode() + b"\n")

    def when_left(self, act: Callable[[], None]) -> None:
        """Act once, as soon as the supervisor is gone."""
        loop = asyncio.get_running_loop()

        def left() -> None:
            loop.remove_reader(self.supervisor)
            act()

        loop.add_reader(self.supervisor, left)
