"""A database server as a process of a test's own, to be stopped, killed and restarted; which one, a subclass says."""

from __future__ import annotations

import asyncio
import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import URL

from tests.support.missing import missing
from tests.support.patience import within
from tests.support.ports import free_port
from tests.support.process_tree import killed_children, watchdog
from tests.support.sql import answers

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.02

# Messages in English, and no address of another server.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "MYSQL", "LC_"))} | {
    "LC_ALL": "C"
}


class DatabaseProcess(ABC):
    """One database server on a port of 127.0.0.1 that it keeps, with a superuser who needs no password.

    Its data are in a temporary directory and outlive `stop` and `kill9`, until `remove`. It also ends when the
    process that started it does, however that ends.
    """

    product: ClassVar[str]
    # Whom it runs as when the tests run as root: these servers refuse to.
    system_user: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    removal_signal: ClassVar[signal.Signals]

    def __init__(self) -> None:
        self.port = free_port()
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @classmethod
    @abstractmethod
    def programs(cls) -> tuple[Path, Path] | None:
        """What makes a data directory, and the server; None unless both are installed."""

    @classmethod
    def installed(cls) -> tuple[Path, Path]:
        """Its programs; without them the test skips, or with `CI=true` fails."""
        programs = cls.programs()
        if programs is None:
            missing(f"the programs of {cls.product} are not installed: scripts/install-test-tools installs them")
        return programs

    @classmethod
    @abstractmethod
    def initialisation(cls, data: Path) -> list[str]:
        """The command that makes a new data directory."""

    @abstractmethod
    def command(self, data: Path) -> list[str]:
        """The command that serves a data directory in the foreground."""

    @property
    @abstractmethod
    def url(self) -> URL:
        """The server, for a superuser who makes the databases."""

    async def answers(self) -> bool:
        """Whether it serves."""
        return await answers(self.url)

    @property
    def pid(self) -> int:
        """Process id of the server; PostgreSQL's has one for each connection below it."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that it has written since it was made, over all its starts."""
        return self._log_file.read_text(errors="replace")

    async def start(self) -> None:
        """Start, for the first time or again, and wait until it answers; `AssertionError` with its log if it doesn't.

        After `kill9` that includes its recovery.
        """
        if self._process is not None:
            raise RuntimeError("the server is running")
        if self._directory is None:
            self._directory = await asyncio.to_thread(self._make_directory)
        self._launch(self._directory)
        try:
            async with within(_START_SECONDS):
                await self._until_it_answers()
        except BaseException as error:
            await self.stop_by(signal.SIGKILL)
            if isinstance(error, TimeoutError):
                raise AssertionError(f"no answer within {_START_SECONDS} s; its log:\n{self.log}") from None
            raise

    async def stop(self) -> None:
        """Stop it in order, which ends its connections and what they have not committed."""
        await self.stop_by(self.stop_signal)

    async def kill9(self) -> None:
        """SIGKILL it with everything that runs for it, as a crash of the machine would, and wait until all is gone."""
        with killed_children(self.pid) as children:
            await self.stop_by(signal.SIGKILL)
            await asyncio.to_thread(children.wait, _STOP_SECONDS)

    async def remove(self) -> None:
        """Get rid of it and of its data in whatever state it is: the end of a test, not part of one."""
        if self._process is not None:
            await self.stop_by(self.removal_signal)
        if self._directory is not None:
            await asyncio.to_thread(shutil.rmtree, self._directory)
            self._directory = None

    @property
    def _log_file(self) -> Path:
        assert self._directory is not None, "the server has never been started"
        return self._directory / "log"

    @classmethod
    def _user(cls) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        try:
            user = pwd.getpwnam(cls.system_user)
        except KeyError:
            user = pwd.getpwnam("nobody")
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def _make_directory(self) -> Path:
        template = _template(type(self))
        directory = Path(tempfile.mkdtemp(prefix="sse-test-server-"))
        subprocess.run(["/bin/cp", "-pR", f"{template}/.", f"{directory}/"], check=True)
        return directory

    def _launch(self, directory: Path) -> None:
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(directory / "data"),
                cwd=directory,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._user(),
            )
        self._watchdog = watchdog(self.pid, self.removal_signal, directory, _template(type(self)))

    async def _until_it_answers(self) -> None:
        while not await self.answers():
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"ended with {self._process.returncode} at its start; its log:\n{self.log}")
            # It is another process; there is nothing to await but the next attempt.
            await asyncio.sleep(_POLL_SECONDS)

    async def stop_by(self, with_signal: signal.Signals) -> None:
        """Send it this signal and wait until it has ended."""
        if self._process is None or self._watchdog is None:
            raise RuntimeError("the server is not running")
        self._process.send_signal(with_signal)
        try:
            await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {_STOP_SECONDS} s; its log:\n{self.log}") from None
        self._watchdog.kill()
        self._watchdog.communicate()
        self._process = self._watchdog = None


@cache
def _template(server: type[DatabaseProcess]) -> Path:
    """A directory with new data, made once in this process and copied for each server."""
    directory = Path(tempfile.mkdtemp(prefix="sse-test-template-"))
    atexit.register(shutil.rmtree, directory)
    user = server._user()
    if user:
        os.chown(directory, user["user"], user["group"])
    made = subprocess.run(
        server.initialisation(directory / "data"),
        check=False,
        cwd=directory,
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **user,
    )
    assert made.returncode == 0, made.stdout
    return directory
