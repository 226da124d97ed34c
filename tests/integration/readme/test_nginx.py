"""Behind nginx, with the configuration of README.md, streams and batches come through as they should."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sse_app import Settings
from tests.integration.readme.blocks import block
from tests.integration.readme.program import installed, run_program
from tests.support.event_stream import open_stream
from tests.support.http import API_PREFIX, open_api
from tests.support.server_process import ServerProcess, run_server
from tests.support.sse import Frame

BATCH_BYTES = 16 * 1024 * 1024  # what a batch may have (SPEC §2)
MESSAGE_BYTES = 250 * 1024
SCALE = 20  # how much faster than in README.md time passes in the test of time-outs

# As root, nginx would drop to a user that can't reach the directory; otherwise it ignores `user`.
_AROUND = """
user root;
pid {directory}/nginx.pid;
error_log stderr;
daemon off;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {servers}
}}
"""


def read_timeout_seconds() -> float:
    [seconds] = re.findall(r"proxy_read_timeout (\d+)s;", block("nginx"))
    return float(seconds)


@asynccontextmanager
async def run_nginx(directory: Path, server: ServerProcess, servers: str) -> AsyncIterator[str]:
    """The address of an nginx before `server`. It takes over a socket that listens already, so it need not be
    waited for: what connects before it is up is served when it is.
    """
    program = installed("nginx")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        servers = servers.replace("127.0.0.1:8000", server.base_url.removeprefix("http://"))
        servers = servers.replace("listen 8080;", f"listen {address};")
        configuration = directory / "nginx.conf"
        configuration.write_text(_AROUND.format(directory=directory, servers=servers))
        async with run_program(
            *(program, "-p", str(directory), "-e", "stderr", "-c", str(configuration)),
            directory=directory,
            environment={"NGINX": f"{listener.fileno()};"},
            inherited=[listener.fileno()],
        ):
            listener.close()  # from here on the socket is nginx's alone: should it fail, its clients fail at once
            yield f"http://{address}"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """Its heartbeat is README.md's and the default, only faster."""
    heartbeat = Settings().heartbeat_seconds / SCALE
    async with run_server(tmp_path, {"SSE_HEARTBEAT_SECONDS": str(heartbeat)}) as server:
        yield server


@pytest.fixture
async def proxy_url(tmp_path: Path, server: ServerProcess) -> AsyncIterator[str]:
    async with run_nginx(tmp_path, server, block("nginx")) as url:
        yield url


def test_the_read_time_out_is_more_than_two_heartbeats() -> None:
    assert read_timeout_seconds() > 2 * Settings().heartbeat_seconds


async def test_headers_come_at_once_and_each_event_as_it_is_sent(proxy_url: str) -> None:
    async with (
        open_api(proxy_url) as api,
        open_stream(proxy_url, params={"user_id": "ada"}) as stream,
        open_stream(proxy_url, f"{API_PREFIX}/stream/team%2F7/bob") as by_path,
    ):
        assert stream.headers["server"].startswith("nginx")
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert (await stream.next()).event == "sse.open"
        assert (await by_path.next()).json["groups"] == ["team/7"]
        for number in range(3):
            assert (await api.send("note", number, user_id="ada"))["connections"] == 1
            assert (await stream.next()).json == number


async def test_a_stream_resumes_through_it_exactly(proxy_url: str) -> None:
    async with open_api(proxy_url) as api:
        async with open_stream(proxy_url, params={"user_id": "ada"}) as stream:
            assert (await stream.next()).event == "sse.open"
            await api.send("note", 1, user_id="ada", persist=True)
            last_event_id = (await stream.next()).last_event_id
        for number in (2, 3):
            await api.send("note", number, user_id="ada", persist=True)
        async with open_stream(proxy_url, params={"user_id": "ada"}, last_event_id=last_event_id) as stream:
            assert (await stream.next()).json["resumed"]
            assert [(await stream.next()).json, (await stream.next()).json] == [2, 3]


async def test_a_batch_of_the_largest_size_passes(proxy_url: str) -> None:
    messages = [
        {"to": {"user_id": "ada"}, "event_type": "bulk", "data": "x" * MESSAGE_BYTES}
        for _ in range(BATCH_BYTES // MESSAGE_BYTES)
    ]
    body = json.dumps({"messages": messages}).encode()
    async with open_api(proxy_url, {"Content-Type": "application/json"}) as api:
        answer = await api.client.post(f"{API_PREFIX}/send/batch", content=body.ljust(BATCH_BYTES))
    assert answer.status_code == 200
    assert [result.get("error") for result in answer.json()["results"]] == [None] * len(messages)


async def test_heartbeats_keep_an_idle_stream_open_beyond_the_time_out(tmp_path: Path, server: ServerProcess) -> None:
    def is_heartbeat(frame: Frame) -> bool:
        return frame.comment is not None

    timeout = read_timeout_seconds() / SCALE
    hurried = re.sub(r"proxy_read_timeout \d+s;", f"proxy_read_timeout {timeout * 1000:.0f}ms;", block("nginx"))
    async with (
        run_nginx(tmp_path, server, hurried) as proxy_url,
        open_stream(proxy_url, params={"user_id": "ada"}) as stream,
        open_api(proxy_url) as api,
    ):
        for _ in range(2 * int(read_timeout_seconds() / Settings().heartbeat_seconds) + 2):
            await stream.until(is_heartbeat)
        await api.send("note", "still here", user_id="ada")
        assert (await stream.until(lambda frame: frame.event == "note")).json == "still here"
