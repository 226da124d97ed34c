"""The command line and the start (SPEC §9): what works says so, what is wrong says why in one line."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from sse_app.cli import main
from tests.integration.service.reading import is_application, opened
from tests.support.event_stream import open_stream
from tests.support.http import API_PREFIX, open_api
from tests.support.server_process import run_server

PATIENCE_SECONDS = 120


def sse_hub(directory: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in this directory."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSE_")}
    return subprocess.run(
        [sys.executable, "-m", "sse_app.cli", *arguments],
        cwd=directory,
        env=environment | settings,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    shown = capsys.readouterr()
    assert (end.value.code, shown.err) == (0, "")
    for command in ("serve", "migrate", "config"):
        assert f"    {command} " in shown.out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"sse-hub {version('sse-hub')}\n"


def test_config_shows_every_setting_as_it_is_in_force(tmp_path: Path) -> None:
    shown = sse_hub(tmp_path, "config", SSE_HEARTBEAT_SECONDS="12.5")
    assert (shown.returncode, shown.stderr) == (0, "")
    values = dict(line.split(maxsplit=1) for line in shown.stdout.splitlines() if re.match("SSE_[A-Z_]+ +[^ ]", line))
    assert values["SSE_HEARTBEAT_SECONDS"] == "12.5"
    assert values["SSE_DATABASE_URL"] == "sqlite+aiosqlite:///sse-hub.db"
    assert "(default: 30)" in shown.stdout
    assert not list(tmp_path.iterdir()), "looking at the configuration makes nothing"


def test_a_file_sets_what_the_environment_does_not(tmp_path: Path) -> None:
    (tmp_path / "hub.env").write_text("SSE_PORT=8001\nSSE_HOST=::1\nSSE_PROT=8002\n")
    shown = sse_hub(tmp_path, "config", "--env-file", "hub.env", SSE_PORT="8003")
    assert shown.returncode == 0
    assert re.search(r"^SSE_PORT +8003$", shown.stdout, re.MULTILINE)
    assert re.search(r"^SSE_HOST +::1$", shown.stdout, re.MULTILINE)
    assert "SSE_PROT is not a setting" in shown.stderr


def test_a_file_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    check_refused(sse_hub(tmp_path, "serve", "--env-file", "hub.env"), "hub.env", "No such file")


def tables(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name for (name,) in rows if name.startswith("app_sse_")}


def test_migrate_up_down_and_up_again(tmp_path: Path) -> None:
    database = tmp_path / "sse-hub.db"
    up, down = ["migrate"], ["migrate", "--revision", "base", "--down"]
    for direction, expected in ((up, True), (down, False), (up, True)):
        done = sse_hub(tmp_path, *direction)
        assert (done.returncode, done.stderr) == (0, ""), direction
        assert " is at revision " in done.stdout
        assert ({"app_sse_message", "app_sse_subscription"} <= tables(database)) is expected


def check_reason(errors: str, *words: str) -> None:
    """The reason is told in exactly one line."""
    [line] = errors.splitlines()
    assert line.startswith("sse-hub: ")
    for word in words:
        assert word in line


def check_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    check_reason(done.stderr, *words)


WRONG = {
    "another database": {"SSE_DATABASE_URL": "postgresql://localhost/hub"},
    "no URL": {"SSE_DATABASE_URL": "hub.db"},
    "log format": {"SSE_LOG_FORMAT": "xml"},
    "log level": {"SSE_LOG_LEVEL": "loud"},
    "port": {"SSE_PORT": "http"},
    "negative": {"SSE_HEARTBEAT_SECONDS": "-1"},
    "not a number": {"SSE_TIMEOUT_SECONDS": "nan"},
    "origin": {"SSE_CORS_ORIGINS": "*"},
    "prefix": {"SSE_PATH_PREFIX": "api"},
    "workers": {"SSE_WORKERS": "257"},
    "workers without Redis": {"SSE_WORKERS": "2"},
    "Redis prefix": {"SSE_REDIS_PREFIX": "two words"},
    "not yet": {"SSE_AUTH_SECRET": "a-secret-that-is-not-shown"},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_setting_stops_the_start_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    [(name, value)] = WRONG[wrong].items()
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        main(["serve", "--port", "0"] if name != "SSE_PORT" else ["serve"])
    shown = capsys.readouterr()
    assert (end.value.code, shown.out) == (1, "")
    check_reason(shown.err, name)
    assert "a-secret-that-is-not-shown" not in shown.err


def test_a_wrong_setting_stops_the_process(tmp_path: Path) -> None:
    check_refused(sse_hub(tmp_path, "serve", SSE_LOG_FORMAT="xml"), "SSE_LOG_FORMAT", "xml")
    assert not list(tmp_path.iterdir())


def test_a_database_whose_directory_is_missing(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/missing/hub.db"
    check_refused(sse_hub(tmp_path, "serve", "--port", "0", SSE_DATABASE_URL=url), "missing")


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_bytes(b"This is not a database. " * 1000)
    for command in (["serve", "--port", "0"], ["migrate"]):
        check_refused(sse_hub(tmp_path, *command, SSE_DATABASE_URL="sqlite+aiosqlite:///hub.db"), "database")


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        check_refused(sse_hub(tmp_path, "serve", "--port", str(other.getsockname()[1])), "in use")


def test_without_authentication_only_loopback_is_bound(tmp_path: Path) -> None:
    everywhere = "0.0.0.0"  # noqa: S104 - it is refused
    check_refused(sse_hub(tmp_path, "serve", "--port", "0", "--host", everywhere), "SSE_ALLOW_UNAUTHENTICATED")


def test_nothing_to_migrate_in_memory(tmp_path: Path) -> None:
    check_refused(sse_hub(tmp_path, "migrate", SSE_DATABASE_URL="memory://"), "memory://")


def test_a_revision_that_is_none(tmp_path: Path) -> None:
    check_refused(sse_hub(tmp_path, "migrate", "--revision", "9999"), "9999")


def test_bad_use_is_told_apart_from_a_bad_start(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["serve", "--no-such-option"])
    assert end.value.code == 2
    assert "--no-such-option" in capsys.readouterr().err


async def test_logs_are_json_on_every_line_and_tell_no_secret(tmp_path: Path) -> None:
    """At the level that tells most, with all that can go wrong in a request."""
    settings = {"SSE_LOG_FORMAT": "json", "SSE_LOG_LEVEL": "debug", "SSE_HEARTBEAT_SECONDS": "0.2"}
    async with run_server(tmp_path, settings) as server:
        params = {"user_id": "SECRET", "id": "SECRET", "group": "SECRET", "last_event_id": "SECRET"}
        async with open_api(server.base_url) as api, open_stream(server.base_url, params=params) as stream:
            await opened(stream)
            await api.send("note", {"x": "SECRET"}, user_id="SECRET", persist=True, event_id="SECRET")
            await stream.until(is_application)
            for path in ("/messages?user_id=SECRET&status=SECRET", "/SECRET?ticket=SECRET", "/stream?since=SECRET"):
                assert not (await api.client.get(API_PREFIX + path)).is_success
            for body in (b"SECRET", b'{"data": "SECRET"', b'{"user_id": "SECRET", "SECRET": 1}'):
                headers = {"content-type": "application/json", "authorization": "Bearer SECRET"}
                answer = await api.client.post(f"{API_PREFIX}/send", content=body, headers=headers)
                assert answer.status_code == 400
            with socket.create_connection(("127.0.0.1", int(server.base_url.rpartition(":")[2]))) as connection:
                connection.sendall(b"SECRET\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 400")
        assert await server.terminate() == 0
        lines = [json.loads(line) for line in server.log.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))
    assert [line["message"] for line in lines if line["logger"] == "sse_hub.server"][-1] == "stopped"
    assert [line for line in lines if "SECRET" in json.dumps(line)] == []
