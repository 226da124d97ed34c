"""Ends a server with all the processes that it has started, at once or when the test run ends. The former on Linux."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path


class KilledProcesses:
    """Processes that have been sent SIGKILL and may not have ended yet."""

    def __init__(self, handles: Sequence[int]) -> None:
        self._handles = handles

    def wait(self, seconds: float) -> None:
        """Until all have ended, so hold no memory, file or port any more; `AssertionError` if one lives on."""
        for handle in self._handles:
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            assert ended.poll(seconds * 1000), "a killed process lives on"


@contextmanager
def killed_children(pid: int) -> Iterator[KilledProcesses]:
    """Suspend this child of ours, which is left to the block to kill, and kill all its children.

    PostgreSQL has a process for each connection, in a process group of its own; each could go on to commit what it is
    at, after the death of the first.
    """
    # Held still it can neither start another process nor reap one, whose id could then become another's.
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    with ExitStack() as opened:
        handles = []
        for child in _children(pid):
            handle = os.pidfd_open(child)
            opened.callback(os.close, handle)
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            handles.append(handle)
        yield KilledProcesses(handles)


def watchdog(pid: int, with_signal: signal.Signals, *directories: Path) -> subprocess.Popen[bytes]:
    """A process that sends this server the signal and deletes its directories once the test run has ended in any way.

    Its input, into which nobody writes, ends with us. Kill it when the server has ended.
    """
    ended = f"for _ in $(seq 50); do kill -0 {pid} || break; sleep 0.1; done"  # it writes until then
    script = f'read -r _; kill -{int(with_signal)} {pid}; {ended}; rm -rf "$@"'
    return subprocess.Popen(
        ["/bin/sh", "-c", script, "watchdog", *directories],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _children(pid: int) -> list[int]:
    children = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # "pid (name) state parent …", where the name may hold anything.
            status = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(status[1]) == pid:
            children.append(int(process.name))
    return children
