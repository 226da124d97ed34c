"""The server harness, with a stand-in for the server: the harness itself must not hide or invent anything."""

import signal
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest

from tests.support.server_process import ServerProcess, run_server

SERVER = """
import http.server, os, sys

class Answers(http.server.BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self):
        Answers.asked += 1
        # Not ready at the first question: readiness comes after listening.
        self.send_response(200 if self.path != "/health/ready" or Answers.asked > 1 else 503)
        self.end_headers()
        self.wfile.write(repr({k: v for k, v in os.environ.items() if k.startswith("SSE_")}).encode())

    def log_message(self, *arguments):
        pass

port = int(sys.argv[sys.argv.index("--port") + 1])
server = http.server.HTTPServer(("127.0.0.1", port), Answers)
print("arguments", sys.argv[1:], file=sys.stderr)
print(f"INFO listening on http://127.0.0.1:{server.server_port}", file=sys.stderr, flush=True)
server.serve_forever()
"""


def run_stand_in(
    directory: Path, settings: Mapping[str, str] | None = None, arguments: Sequence[str] = (), *, source: str = SERVER
) -> AbstractAsyncContextManager[ServerProcess]:
    script = directory / "stand_in.py"
    script.write_text(source)
    return run_server(directory, settings, arguments, program=(str(script),))


async def ask(server: ServerProcess) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(server.base_url)).text


async def test_a_server_is_started_with_its_own_settings_and_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSE_PORT", "1")
    async with run_stand_in(tmp_path, {"SSE_LOG_FORMAT": "json"}, ["--host", "127.0.0.1"]) as server:
        assert await ask(server) == "{'SSE_LOG_FORMAT': 'json'}"
        assert f"['serve', '--port', '{server.port}', '--host', '127.0.0.1']" in server.log


async def test_a_killed_server_is_gone_and_comes_back_on_its_port(tmp_path: Path) -> None:
    async with run_stand_in(tmp_path) as server:
        first_pid, first_url = server.pid, server.base_url
        await server.kill9()
        with pytest.raises(httpx.TransportError):
            await ask(server)
        await server.restart_on_same_port()
        assert (server.pid != first_pid, server.base_url) == (True, first_url)
        assert await ask(server) == "{}"


async def test_an_orderly_stop_tells_the_exit_code(tmp_path: Path) -> None:
    async with run_stand_in(tmp_path) as server:
        assert await server.terminate() == -signal.SIGTERM


async def test_a_server_that_ends_at_its_start_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="SSE_PORT: not a number"):
        async with run_stand_in(tmp_path, source="raise SystemExit('SSE_PORT: not a number')"):
            pass


async def test_workers_that_outlive_an_orderly_stop_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    async with run_stand_in(tmp_path, source=worker + SERVER) as server:
        with monkeypatch.context() as hasty:
            hasty.setattr("tests.support.server_process._LAST_WORDS_SECONDS", 0.2)
            with pytest.raises(AssertionError, match="left workers behind"):
                await server.terminate()
