"""The server harness, with a stand-in for the server: the harness itself must not hide or invent anything.

`python -m` looks into the working directory first, so a package of that name takes the server's place.
"""

import signal
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


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    package = tmp_path / "sse_app"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(SERVER)
    return tmp_path


async def ask(server: ServerProcess) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(server.base_url)).text


async def test_a_server_is_started_with_its_own_settings_and_awaited(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSE_PORT", "1")
    async with run_server(directory, {"SSE_LOG_FORMAT": "json"}, ["--host", "127.0.0.1"]) as server:
        assert await ask(server) == "{'SSE_LOG_FORMAT': 'json'}"
        assert "['serve', '--port', '0', '--host', '127.0.0.1']" in server.log


async def test_a_killed_server_is_gone_and_comes_back_on_its_port(directory: Path) -> None:
    async with run_server(directory) as server:
        first_pid, first_url = server.pid, server.base_url
        await server.kill9()
        with pytest.raises(httpx.TransportError):
            await ask(server)
        await server.restart_on_same_port()
        assert (server.pid != first_pid, server.base_url) == (True, first_url)
        assert await ask(server) == "{}"


async def test_an_orderly_stop_tells_the_exit_code(directory: Path) -> None:
    async with run_server(directory) as server:
        assert await server.terminate() == -signal.SIGTERM


async def test_a_server_that_ends_at_its_start_shows_its_log(directory: Path) -> None:
    (directory / "sse_app" / "cli.py").write_text("raise SystemExit('SSE_PORT: not a number')")
    with pytest.raises(AssertionError, match="SSE_PORT: not a number"):
        await ServerProcess(directory).start()


async def test_workers_that_outlive_an_orderly_stop_are_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.server_process._STOP_SECONDS", 0.2)
    worker = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    (directory / "sse_app" / "cli.py").write_text(worker + SERVER)
    async with run_server(directory) as server:
        with pytest.raises(AssertionError, match="left workers behind"):
            await server.terminate()
