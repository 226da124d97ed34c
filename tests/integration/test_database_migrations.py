"""One chain of revisions for every kind of database: up and down with data in it, once, whoever starts first."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from sse_adapters.sql import UnusableDatabase, open_sql_store
from sse_adapters.sql.migrate import current, downgrade, upgrade
from sse_adapters.sql.schema import VERSION_TABLE, metadata
from sse_domain.cursor import START
from sse_domain.inbox import InboxQuery, TheseSeqs
from sse_domain.message import BROADCAST, Receiver
from tests.support.clock import ManualClock
from tests.support.databases import fresh_database
from tests.support.hub_databases import DURABLE
from tests.support.stores import Publisher

HEAD = "0003"
REVISIONS = ("0001", "0002", "0003")

MIGRATE = "import asyncio, sys; from sse_adapters.sql.migrate import upgrade; asyncio.run(upgrade(sys.argv[1]))"


@pytest.fixture(params=DURABLE)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}"
    else:
        async with fresh_database(request.param) as url:
            yield url


async def ask(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Rows of the last statement, if it has any."""
    engine = create_async_engine(url, poolclass=NullPool)
    rows: list[tuple[Any, ...]] = []
    async with engine.begin() as connection:
        for statement in statements:
            result = await connection.execute(text(statement))
            rows = [tuple(row) for row in result] if result.returns_rows else []
    return rows


async def tables(url: str) -> set[str]:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_the_migrations_make_what_the_code_describes(url: str) -> None:
    def differences(connection: Connection) -> list[Any]:
        return list(
            compare_metadata(MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}), metadata)
        )

    await upgrade(url)
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_every_revision_can_be_left_and_come_back_to_with_data_in_it(url: str) -> None:
    await upgrade(url)
    clock = ManualClock()
    async with open_sql_store(url) as store:
        publish = Publisher(store, clock)
        for receiver in (BROADCAST, Receiver.user("ana"), Receiver.group("team"), Receiver.user("Ana "), BROADCAST):
            await publish(receiver, data='{"text": "Zoë 🎈"}'.encode(), ttl=3600)
        await store.subscriptions.join("ana", "team", ("note",))
        await publish(Receiver.group("team"))
        await store.inbox.mark_read("ana", TheseSeqs((2,)), clock())
        before = await store.log.read(0, 100)
        epoch = (await store.log.head()).epoch
        stamp = (await store.stamps.stamps(["ana"]))["ana"]
    for revision in reversed(REVISIONS):
        await downgrade(url, revision)
        assert await current(url) == revision
        with_no_receiver = await ask(url, "SELECT receiver_id FROM app_sse_message WHERE receiver_type = 'broadcast'")
        assert with_no_receiver == [(None if revision == "0001" else "",)] * 2
    for revision in REVISIONS:
        await upgrade(url, revision)
        assert await current(url) == revision
    async with open_sql_store(url) as store:
        assert await store.log.read(0, 100) == before
        assert (await store.log.head()).epoch == epoch
        listed = await store.inbox.messages(InboxQuery(user_id="ana"), START, clock())
        assert [entry.message.seq for entry in listed] == [1, 2, 5, 6]
        assert (await store.inbox.unread(["ana"], clock()))["ana"].total == 3
        # Neither when the user marked something nor how often the membership changed was known further down.
        now = (await store.stamps.stamps(["ana"]))["ana"]
        assert (stamp.marking > 0, now) == (True, stamp._replace(marking=0, memberships=0))
        assert (await store.subscriptions.join("ana", "team", None)).version > 0


async def test_nothing_is_left_below_the_first_revision(url: str) -> None:
    await upgrade(url)
    assert await tables(url) == {VERSION_TABLE, *metadata.tables}
    await downgrade(url, "base")
    assert await tables(url) == {VERSION_TABLE}
    await upgrade(url)
    assert await tables(url) == {VERSION_TABLE, *metadata.tables}


def test_any_number_of_processes_may_migrate_at_once(url: str) -> None:
    runs = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    assert [run.communicate(timeout=60) for run in runs] == [(b"", b"")] * 4
    assert len(asyncio.run(ask(url, "SELECT epoch FROM app_sse_log"))) == 1


async def test_a_database_of_a_newer_version_is_refused(url: str) -> None:
    await upgrade(url)
    await ask(url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")  # noqa: S608 (a constant)
    with pytest.raises(UnusableDatabase, match="revision 9999, which this version of sse-hub does not know"):
        await open_sql_store(url).__aenter__()


@pytest.mark.parametrize("revision", [None, "0001"])
async def test_a_server_that_is_not_up_to_date_is_refused_and_an_embedded_database_brought_there(
    url: str, revision: str | None
) -> None:
    if revision is not None:
        await upgrade(url, revision)
    if url.startswith("sqlite"):
        async with open_sql_store(url):
            assert await current(url) == HEAD
        return
    with pytest.raises(UnusableDatabase, match=r"revision .*, and this version .* needs .*; run `sse-hub migrate`"):
        await open_sql_store(url).__aenter__()
    assert await current(url) == revision


@pytest.mark.parametrize(
    ("revision", "up", "down"),
    [
        pytest.param(
            "0001",
            [
                "ALTER TABLE app_sse_log ADD COLUMN memberships BIGINT NOT NULL DEFAULT 0",
                "ALTER TABLE app_sse_subscription ADD COLUMN version BIGINT NOT NULL DEFAULT 0",
            ],
            "DROP TABLE app_sse_outbox",
            id="0002",
        ),
        pytest.param(
            "0002",
            ["ALTER TABLE app_sse_log ADD COLUMN removals BIGINT NOT NULL DEFAULT 0"],
            "DROP TABLE app_sse_marking",
            id="0003",
        ),
    ],
)
async def test_a_migration_that_failed_halfway_is_finished_by_running_it_again(
    revision: str, up: list[str], down: str
) -> None:
    """On MySQL every step is committed by itself."""
    async with fresh_database("mysql") as url:
        await upgrade(url, revision)
        await ask(url, *up)
        await upgrade(url)
        assert await tables(url) == {VERSION_TABLE, *metadata.tables}
        await downgrade(url, REVISIONS[REVISIONS.index(revision) + 1])
        await ask(url, down)
        await downgrade(url, revision)
        assert await current(url) == revision


async def test_times_keep_their_microseconds_and_identifiers_their_spelling(url: str) -> None:
    await upgrade(url)
    clock = ManualClock(datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC))
    async with open_sql_store(url) as store:
        publish = Publisher(store, clock)
        message = await publish(Receiver.user("Ünï🎈"), ttl=0.000001)
        [kept] = await store.log.read(0, 1)
        assert (kept.created_at, kept.expire_at) == (message.created_at, message.expire_at)
        assert kept.receiver == message.receiver
        assert kept.created_at.utcoffset() is not None
