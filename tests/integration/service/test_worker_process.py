"""A worker's process and what passes between it and its supervisor, with small programs in place of the server."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator

import pytest

from sse_app.listening import SharedAddress
from sse_app.settings import Settings
from sse_app.supervisor import NotServing
from sse_app.worker_process import WorkerProcesses

PATIENCE_SECONDS = 120
BEGINNING = """
import os, signal, socket, sys
from sse_app.worker_process import Assignment
given = Assignment.parse(sys.argv[1])
"""


@pytest.fixture
def address() -> Iterator[SharedAddress]:
    address = SharedAddress(Settings(port=0))
    yield address
    address.close()


def running(address: SharedAddress, program: str) -> WorkerProcesses:
    return WorkerProcesses(address, [sys.executable, "-c", BEGINNING + program])


async def outcome(address: SharedAddress, program: str) -> tuple[str, int]:
    """What a worker says about whether it serves, and its exit status."""
    worker = running(address, program).start(1)
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await worker.serving, await worker.ended


async def test_a_worker_says_that_it_serves_or_in_one_line_why_not(address: SharedAddress) -> None:
    assert await outcome(address, "given.report_serving()") == ("", 0)
    assert await outcome(address, "given.report_failure('no\\ntable'); sys.exit(1)") == ("no table", 1)


async def test_one_that_ends_without_a_word_is_noticed_in_any_case(address: SharedAddress) -> None:
    assert await outcome(address, "sys.exit(3)") == ("the process ended before it served: exit status 3", 3)
    killed = "os.kill(os.getpid(), signal.SIGKILL)"
    assert await outcome(address, killed) == ("the process ended before it served: SIGKILL", -9)


async def test_a_program_that_is_not_there_is_a_start_that_failed(address: SharedAddress) -> None:
    with pytest.raises(NotServing, match="No such file"):
        WorkerProcesses(address, ["/nowhere/python"]).start(1)


async def test_it_serves_the_socket_of_its_number(address: SharedAddress) -> None:
    program = "given.report_failure(repr(given.socket().getsockname()))"
    assert await outcome(address, program) == (repr(address.socket_of(1).getsockname()), 0)


async def test_an_interrupt_that_reaches_it_before_it_is_ready_for_one_waits(address: SharedAddress) -> None:
    program = "given.report_failure(str(sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))))"
    assert await outcome(address, program) == (f"[{signal.SIGINT:d}]", 0)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


async def test_it_has_nothing_open_that_is_not_its_own(address: SharedAddress) -> None:
    """Neither other workers' sockets nor the end of the pipe that tells that the supervisor lives."""
    address.socket_of(2)
    program = """
descriptors = {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2, *given[1:]}
given.report_failure(str([fd for fd in descriptors if os.path.exists(f"/proc/self/fd/{fd}")]))
"""
    assert await outcome(address, program) == ("[]", 0)
