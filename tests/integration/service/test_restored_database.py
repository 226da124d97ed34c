"""A database that is restored, or given another epoch, under servers that run on it (SPEC §3.5)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from sse_app import EventStream, HubService, Settings, open_hub
from tests.integration.service.test_command_line import sse_hub

SECONDS = 60  # that a test may take: one that misses something would wait for it for ever
FILE = "sse-hub.db"


def copy(source: Path, target: Path) -> None:
    """Through SQLite's own connections: as a backup of a database in use is taken, and as one is restored."""
    with closing(sqlite3.connect(source)) as connection, closing(sqlite3.connect(target)) as other:
        connection.backup(other)


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[tuple[HubService, HubService]]:
    settings = Settings(database_url=f"sqlite+aiosqlite:///{tmp_path / FILE}", drain_seconds=0)
    async with open_hub(settings) as one, open_hub(settings) as other:
        yield one, other


async def numbers(stream: EventStream, last: int) -> list[int]:
    """The data of what the stream is given, up to this one."""
    given: list[int] = []
    while last not in given:
        given.append((await anext(stream)).data)
    return given


async def send(hub: HubService, *data: int) -> None:
    for number in data:
        await hub.send_to_user("ada", "t", number, persist=True)


@pytest.mark.parametrize("sends", [True, False])
async def test_a_restored_backup_is_found_by_every_node(
    nodes: tuple[HubService, HubService], tmp_path: Path, sends: bool
) -> None:
    here, there = nodes
    await send(here, 1, 2)
    await asyncio.to_thread(copy, tmp_path / FILE, tmp_path / "backup.db")
    async with (
        asyncio.timeout(SECONDS),
        here.listen(user_id="ada") as one,
        there.listen(user_id="ada", replay="unread") as other,
    ):
        await send(here, 3, 4, 5)
        assert await numbers(one, 5) == await numbers(other, 5) == [1, 2, 3, 4, 5]
        await asyncio.to_thread(copy, tmp_path / "backup.db", tmp_path / FILE)
        if sends:
            await send(there, 6)
        assert [event async for event in one] == [event async for event in other] == []
        assert (one.closed, other.closed) == ("log_replaced", "log_replaced")
        await send(here, 7, 8, 9)
        given = [1, 2, 6, 7, 8, 9] if sends else [1, 2, 7, 8, 9]
        for hub, ended in ((here, one), (there, other)):
            async with hub.listen(user_id="ada", replay="unread", last_event_id=ended.last_event_id) as again:
                assert again.reset == "other_log"
                assert await numbers(again, 9) == given
        storage = [(await hub.info()).storage for hub in nodes]
    assert storage[0] == storage[1]
    assert storage[0]["last_seq"] == len(given)


async def test_a_new_epoch_ends_the_streams_of_a_running_server(
    nodes: tuple[HubService, HubService], tmp_path: Path
) -> None:
    here, _ = nodes
    await send(here, 1)
    async with asyncio.timeout(SECONDS), here.listen(user_id="ada") as stream:
        assert await numbers(stream, 1) == [1]
        renamed = await asyncio.to_thread(sse_hub, tmp_path, "new-epoch")
        assert (renamed.returncode, renamed.stderr) == (0, "")
        assert [event async for event in stream] == []
        epoch = str((await here.info()).storage["epoch"])
        assert renamed.stdout.endswith(f"has the epoch {epoch}\n")
        async with here.listen(user_id="ada", last_event_id=stream.last_event_id) as again:
            assert again.reset == "other_log"
            await send(here, 2)
            assert (await numbers(again, 2))[-1] == 2
            assert again.last_event_id == f"2-{epoch}"
