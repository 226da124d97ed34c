"""The real server as a process of its own, to be killed, drained and restarted by tests."""

import asyncio
import os
import re
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx

from tests.support.patience import within
from tests.support.ports import free_port
from tests.support.preloaded import PreloadedPython

SSE_HUB = ("-m", "sse_app.cli")
_LISTENING = re.compile(r"listening on http://[0-9.]+:\d+")
_WORKER_SERVES = re.compile(r"worker (\d+) \(pid (\d+)\) serves")
_START_SECONDS = 60.0  # of several workers on a busy machine
_STOP_SECONDS = 30.0
_LAST_WORDS_SECONDS = 30.0
_LOG_SECONDS = 60.0
_READY_POLL_SECONDS = 0.02


class ServerProcess:
    """One `sse-hub serve` on a port of 127.0.0.1, which it keeps, configured by `SSE_*` variables alone.

    `program` is what Python runs instead of sse-hub: one that takes its place, with a seeded bug.
    It runs in `directory`, so the default database is made there, and in a process group of its own, so that
    `kill9` reaches its workers too. `SSE_*` variables of the test run itself do not reach it.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        program: Sequence[str] = SSE_HUB,
    ) -> None:
        self.settings = dict(settings or {})
        self.arguments = list(arguments)
        self._program = program
        self._directory = directory
        self._process: PreloadedPython | None = None
        self._log_reader: threading.Thread | None = None
        self._log_lines: list[str] = []
        self._log_grows = threading.Condition()
        self._log_ended = False
        self._listening_or_dead = threading.Event()
        self.port = free_port()

    @property
    def base_url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:20123`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the command that was started; with several workers, that of their supervisor."""
        return self._running.pid

    @property
    def log(self) -> str:
        """Everything that it has written to standard output and error since its last start."""
        return "".join(self._log_lines)

    @property
    def workers(self) -> dict[int, int]:
        """The process ids of several workers by their numbers: of each the one that began to serve last."""
        return {int(number): int(pid) for number, pid in _WORKER_SERVES.findall(self.log)}

    async def logged(self, pattern: str, times: int = 1) -> None:
        """Until its log has that many matches; `AssertionError` with the log if it ends before, or takes too long."""

        def there() -> bool:
            return len(re.findall(pattern, self.log)) >= times

        def wait() -> None:
            with self._log_grows:
                self._log_grows.wait_for(lambda: there() or self._log_ended, _LOG_SECONDS)

        await asyncio.to_thread(wait)
        assert there(), f"not {times} times {pattern!r} in its log:\n{self.log}"

    async def start(self) -> None:
        """Start and wait until `/health/ready` is 200; `AssertionError` with the log if it never is."""
        self._launch()
        await asyncio.to_thread(self._listening_or_dead.wait, _START_SECONDS)
        try:
            async with within(_START_SECONDS):
                await self._until_ready()
        except TimeoutError:
            raise AssertionError(f"not ready within {_START_SECONDS} s; its log:\n{self.log}") from None

    async def kill9(self) -> None:
        """SIGKILL it and its workers, as a crash of the machine would, and wait until they are gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._wait()

    async def kill9_supervisor(self) -> None:
        """SIGKILL it without its workers, and wait until they are gone too; `AssertionError` if they stay."""
        self._running.send_signal(signal.SIGKILL)
        await self._wait()

    def suspend(self) -> None:
        """Hold it and its workers still (SIGSTOP), in whatever they are at, until `resume`."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.killpg(self.pid, signal.SIGCONT)

    async def terminate(self) -> int:
        """SIGTERM it, as an orderly stop does, and return its exit code; `AssertionError` if it stays."""
        self._running.send_signal(signal.SIGTERM)
        return await self.exited()

    async def exited(self) -> int:
        """Its exit code, once it has stopped; `AssertionError` if it stays."""
        return await self._wait()

    async def restart_on_same_port(self) -> None:
        """Start it again, once it has been stopped in either way, where its clients know it."""
        if self._process is not None:
            raise RuntimeError("stop the server before it is started again")
        await self.start()

    async def stop(self) -> None:
        """Get rid of it in whatever state it is: the end of a test, not part of one."""
        if self._process is not None:
            await self.kill9()

    @property
    def _running(self) -> PreloadedPython:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process

    def _launch(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SSE_")}
        self._log_lines = []
        self._log_ended = False
        self._listening_or_dead.clear()
        self._process = PreloadedPython(
            [*self._program, "serve", "--port", str(self.port), *self.arguments],
            self._directory,
            environment | self.settings,
        )
        self._log_reader = threading.Thread(target=self._read_log, args=(self._process,), daemon=True)
        self._log_reader.start()

    async def _wait(self) -> int:
        process = self._running
        try:
            exit_code = await asyncio.to_thread(process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {_STOP_SECONDS} s; its log:\n{self.log}") from None
        if self._log_reader is not None:
            # Its output only ends when its last worker has gone as well.
            await asyncio.to_thread(self._log_reader.join, _LAST_WORDS_SECONDS)
            assert not self._log_reader.is_alive(), f"it left workers behind; its log:\n{self.log}"
        self._process = None
        return exit_code

    def _read_log(self, process: PreloadedPython) -> None:
        with process.output as output:
            for line in output:
                with self._log_grows:
                    self._log_lines.append(line)
                    self._log_grows.notify_all()
                if _LISTENING.search(line):
                    self._listening_or_dead.set()
        with self._log_grows:
            self._log_ended = True
            self._log_grows.notify_all()
        self._listening_or_dead.set()

    async def _until_ready(self) -> None:
        async with httpx.AsyncClient(base_url=self.base_url, trust_env=False) as client:
            while True:
                if self._running.poll() is not None:
                    exit_code = self._running.returncode
                    raise AssertionError(f"ended with {exit_code} at its start; its log:\n{self.log}")
                try:
                    if (await client.get("/health/ready")).status_code == httpx.codes.OK:
                        return
                except httpx.TransportError:
                    pass
                # Readiness is the answer of another process; there is nothing to await but the next attempt.
                await asyncio.sleep(_READY_POLL_SECONDS)


@asynccontextmanager
async def run_server(
    directory: Path,
    settings: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    program: Sequence[str] = SSE_HUB,
) -> AsyncIterator[ServerProcess]:
    """A started server, killed at the end of the block if it still runs then."""
    server = ServerProcess(directory, settings, arguments, program)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
