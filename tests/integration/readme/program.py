"""A program as a user runs it: its output is read as it comes."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.missing import missing

PATIENCE_SECONDS = 120.0
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"  # where Debian has servers; not on every user's PATH


class Program:
    """A running program. Open it with `run_program`."""

    def __init__(self, process: Process) -> None:
        self.output = ""
        self._process = process

    async def until(self, pattern: str) -> re.Match[str]:
        """Read until the output so far has `pattern`. Raises AssertionError if it ends, or takes too long, before."""
        async with self._patience(pattern):
            while (found := re.search(pattern, self.output)) is None:
                assert await self._read_line(), f"it ended without {pattern!r}:\n{self.output}"
        return found

    async def end(self) -> int:
        """Read to the end and return the exit status."""
        async with self._patience("its end"):
            while await self._read_line():
                pass
            return await self._process.wait()

    async def terminate(self) -> int:
        """SIGTERM it and return its exit status: minus the signal's number if that is what ended it."""
        self._process.terminate()
        return await self.end()

    async def _read_line(self) -> bool:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        self.output += line.decode()
        return bool(line)

    @asynccontextmanager
    async def _patience(self, awaited: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                yield
        except TimeoutError:
            raise AssertionError(f"waited {PATIENCE_SECONDS} s in vain for {awaited}; so far:\n{self.output}") from None


@asynccontextmanager
async def run_program(
    *command: str,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    errors: bool = True,
    inherited: Collection[int] = (),
) -> AsyncIterator[Program]:
    """Run a command; it and what it started are gone after the block.

    `environment` adds to that of the tests, of which no `SSE_` variable is passed on. `errors`: standard error counts
    as output too. `inherited` file descriptors stay open in it.
    """
    passed_on = {name: value for name, value in os.environ.items() if not name.startswith("SSE_")}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env=passed_on | dict(environment or {}),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT if errors else DEVNULL,
        start_new_session=True,
        pass_fds=inherited,
    )
    program = Program(process)
    try:
        yield program
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await program.end()


def installed(name: str) -> str:
    """The path of a program that must be installed: without it the test is skipped, or failed when `CI=true`."""
    path = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), _SYSTEM_PATH)))
    if path is None:
        missing(f"{name} is not installed; scripts/install-test-tools installs it")
    return path
