"""Python programs, each a process of its own, from one that has imported the service before: most of a start is that.

A program runs as if Python had been called for it, but for what a fork brings along. Who is called from a shell, the
command line and the installed package among them, has tests of its own that start Python itself.
"""

from __future__ import annotations

import gc
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["sse_app.server", __name__])


class PreloadedPython:
    """`python ARGUMENTS…` in `directory`, with nothing but `environment`, in a session of its own.

    `arguments` begin with `-m MODULE` or with the path of a script. `output` is what it and its children write to
    standard output and error, and ends with the last of them. The rest is as of `subprocess.Popen`.
    """

    def __init__(self, arguments: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        reading, writing = _CONTEXT.Pipe(duplex=False)
        with reading, writing:
            self._process = _CONTEXT.Process(
                target=_run, args=(list(arguments), directory, dict(environment), writing), daemon=True
            )
            self._process.start()
            self.output: TextIO = os.fdopen(os.dup(reading.fileno()), errors="replace")
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)


def _run(arguments: list[str], directory: Path, environment: dict[str, str], output: Connection) -> None:
    gc.freeze()  # looking at what is shared with other processes would make it this one's own
    os.setsid()
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    for standard in (1, 2):
        os.dup2(output.fileno(), standard)
    output.close()
    sys.orig_argv = [sys.executable, *arguments]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
