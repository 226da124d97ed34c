"""What README.md says of running the service, as far as no other test shows it."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from tests.integration.readme.program import Program, run_program
from tests.support.event_stream import open_stream
from tests.support.http import open_api
from tests.support.server_process import run_server

SSE_HUB = (sys.executable, "-m", "sse_app.cli")
DATABASE = "sse-hub.db"


async def sse_hub(*arguments: str, directory: Path, status: int = 0, **environment: str) -> Program:
    """Run a command to its end, and check its exit status."""
    async with run_program(*SSE_HUB, *arguments, directory=directory, environment=environment) as program:
        assert await program.end() == status, program.output
    return program


def tables(directory: Path) -> set[str]:
    with closing(sqlite3.connect(directory / DATABASE)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


async def test_migrate_goes_up_and_back_and_says_where_it_is(tmp_path: Path) -> None:
    up = await sse_hub("migrate", directory=tmp_path)
    assert up.output == f"sqlite+aiosqlite:///{DATABASE} is at revision 0003\n"
    assert "app_sse_message" in tables(tmp_path)
    down = await sse_hub("migrate", "--down", "--revision", "base", directory=tmp_path)
    assert down.output == f"sqlite+aiosqlite:///{DATABASE} is at revision base\n"
    assert "app_sse_message" not in tables(tmp_path)


async def test_migrate_down_wants_to_know_how_far(tmp_path: Path) -> None:
    refused = await sse_hub("migrate", "--down", directory=tmp_path, status=2)
    assert "--down needs --revision" in refused.output
    assert not (tmp_path / DATABASE).exists()


async def test_config_shows_what_is_in_force_beside_the_defaults(tmp_path: Path) -> None:
    shown = await sse_hub("config", directory=tmp_path, SSE_RETENTION_DAYS="7.5", SSE_ALLOW_UNAUTHENTICATED="true")
    lines = [" ".join(line.split()) for line in shown.output.splitlines()]
    days = lines.index("SSE_RETENTION_DAYS 7.5")
    assert lines[days + 1] == "days that messages are kept (default: 30)"
    assert "SSE_ALLOW_UNAUTHENTICATED 1" in lines
    assert "SSE_CORS_ORIGINS (empty)" in lines


async def test_a_misspelt_setting_is_warned_of(tmp_path: Path) -> None:
    warned = await sse_hub("migrate", directory=tmp_path, SSE_RETENTION_DAY="7")
    [warning] = [line for line in warned.output.splitlines() if "WARNING" in line]
    assert "SSE_RETENTION_DAY is not a setting" in warning


async def test_after_new_epoch_a_restored_backup_leaves_no_silent_gap(tmp_path: Path) -> None:
    database, backup = tmp_path / DATABASE, tmp_path / "copy.db"
    ada = {"user_id": "ada"}
    async with run_server(tmp_path) as server, open_api(server.base_url) as api:
        await api.send("note", "kept", persist=True, **ada)
        with closing(sqlite3.connect(database)) as running, closing(sqlite3.connect(backup)) as copy:
            running.backup(copy)
        await api.send("note", "lost", persist=True, **ada)
        async with open_stream(server.base_url, params=ada) as stream:
            assert [(await stream.next()).event for _ in range(3)] == ["sse.open", "note", "note"]
            last_event_id = stream.last_event_id
        await server.terminate()

        backup.replace(database)
        renamed = await sse_hub("new-epoch", directory=tmp_path)
        assert renamed.output.startswith(f"sqlite+aiosqlite:///{DATABASE} has the epoch ")
        await server.restart_on_same_port()

        await api.send("note", "in place of the lost one", persist=True, **ada)
        async with open_stream(server.base_url, params=ada, last_event_id=last_event_id) as stream:
            assert (await stream.next()).event == "sse.open"
            assert (await stream.next()).json == {"reason": "other_log"}
            assert [(await stream.next()).json for _ in range(2)] == ["kept", "in place of the lost one"]


async def test_new_epoch_has_nothing_to_rename_where_nothing_is_kept(tmp_path: Path) -> None:
    refused = await sse_hub("new-epoch", directory=tmp_path, status=1, SSE_DATABASE_URL="memory://")
    assert refused.output == "sse-hub: SSE_DATABASE_URL: memory:// keeps nothing, so there is nothing to change\n"


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    async with run_server(tmp_path) as server:
        port = server.base_url.rpartition(":")[2]
        refused = await sse_hub("serve", "--port", port, directory=tmp_path, status=1)
    assert refused.output == f"sse-hub: can't listen on 127.0.0.1, port {port}: Address already in use\n"
