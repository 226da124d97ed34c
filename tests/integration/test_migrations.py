"""The migrations make the tables that SPEC §5 names and the code describes, once, whoever starts first."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from sse_adapters.sql import UnusableDatabase, open_sql_store
from sse_adapters.sql.migrate import current, downgrade, upgrade
from sse_adapters.sql.schema import VERSION_TABLE, metadata

HEAD = "0003"

START = """
import asyncio, sys
from sse_adapters.sql import open_sql_store
async def main():
    async with open_sql_store(sys.argv[1]) as store:
        print((await store.log.head()).epoch)
asyncio.run(main())
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


def ask(file: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection, connection:
        return connection.execute(sql).fetchall()


def tables(file: Path) -> set[object]:
    return {name for (name,) in ask(file, "SELECT name FROM sqlite_schema WHERE type = 'table'")}


async def test_the_migrations_make_what_the_code_describes(url: str, file: Path) -> None:
    await upgrade(url)
    with create_engine(f"sqlite:///{file}", poolclass=NullPool).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (
            "app_sse_message",
            "id event_id event_type receiver_id receiver_type group_name priority data status expire_at created_at",
        ),
        ("app_sse_subscription", "id user_id group_name event_types status"),
    ],
)
async def test_the_tables_have_the_columns_that_the_specification_names(
    url: str, file: Path, table: str, columns: str
) -> None:
    await upgrade(url)
    made = {name for (name,) in ask(file, f"SELECT name FROM pragma_table_info('{table}')")}  # noqa: S608 (a constant)
    assert made >= set(columns.split())


@pytest.mark.parametrize(
    ("index", "columns", "unique"),
    [
        ("idx_event_id", ["event_id"], True),
        ("idx_receiver_created", ["receiver_id", "created_at"], False),
        ("idx_group_created", ["group_name", "created_at"], False),
        ("idx_user_group", ["user_id", "group_name"], True),
        ("idx_group_status", ["group_name", "status"], False),
    ],
)
async def test_the_indexes_are_those_that_the_specification_names(
    url: str, file: Path, index: str, columns: list[str], unique: bool
) -> None:
    await upgrade(url)
    made = [name for (name,) in ask(file, f"SELECT name FROM pragma_index_info('{index}') ORDER BY seqno")]  # noqa: S608
    assert made == columns
    [(statement,)] = ask(file, f"SELECT sql FROM sqlite_schema WHERE name = '{index}'")  # noqa: S608
    assert str(statement).startswith("CREATE UNIQUE INDEX") == unique


async def test_the_seq_is_the_row_number_and_given_by_nobody_else(url: str, file: Path) -> None:
    await upgrade(url)
    [(statement,)] = ask(file, "SELECT sql FROM sqlite_schema WHERE name = 'app_sse_message'")
    assert "AUTOINCREMENT" not in str(statement)
    with closing(sqlite3.connect(file)) as connection:
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM app_sse_message WHERE id = 1").fetchall()
    assert "INTEGER PRIMARY KEY" in plan[0][-1]


async def test_a_new_log_has_a_name_of_its_own(tmp_path: Path) -> None:
    epochs = set()
    for name in ("one", "two"):
        await upgrade(f"sqlite+aiosqlite:///{tmp_path / name}")
        [row] = ask(tmp_path / name, "SELECT epoch, last_seq, purged_through FROM app_sse_log")
        epochs.add(row[0])
        assert re.fullmatch("[0-9a-z]{8}", str(row[0]))
        assert row[1:] == (0, 0)
    assert len(epochs) == 2


async def test_upgrading_again_changes_nothing(url: str, file: Path) -> None:
    assert await current(url) is None
    await upgrade(url)
    assert await current(url) == HEAD
    before = ask(file, "SELECT * FROM app_sse_log")
    await upgrade(url)
    assert ask(file, "SELECT * FROM app_sse_log") == before


async def test_downgrading_leaves_nothing_and_the_way_up_open(url: str, file: Path) -> None:
    await upgrade(url)
    await downgrade(url, "base")
    assert await current(url) is None
    assert tables(file) == {VERSION_TABLE}
    await upgrade(url)
    assert tables(file) == {VERSION_TABLE, *metadata.tables}


async def test_within_a_process_any_number_may_start_at_once(url: str, file: Path) -> None:
    await asyncio.gather(*(upgrade(url) for _ in range(8)))
    assert len(ask(file, "SELECT epoch FROM app_sse_log")) == 1


async def test_databases_of_one_process_may_start_at_once(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.db" for number in range(8)]
    await asyncio.gather(*(upgrade(f"sqlite+aiosqlite:///{file}") for file in files))
    for file in files:
        assert tables(file) == {VERSION_TABLE, *metadata.tables}


def test_any_number_of_processes_may_start_at_once(url: str) -> None:
    starts = [
        subprocess.Popen([sys.executable, "-c", START, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    answers = [start.communicate(timeout=60) for start in starts]
    assert [errors for _, errors in answers] == [b""] * 4
    assert len({epoch for epoch, _ in answers}) == 1


async def test_a_migration_that_fails_leaves_nothing_behind(url: str, file: Path) -> None:
    ask(file, "CREATE TABLE app_sse_log (mine)")
    with pytest.raises(UnusableDatabase, match="app_sse_log already exists"):
        await upgrade(url)
    assert tables(file) == {"app_sse_log"}


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(url: str, file: Path) -> None:
    await upgrade(url)
    ask(file, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")  # noqa: S608 (a constant)
    for attempt in (lambda: upgrade(url), lambda: downgrade(url, "base"), open_sql_store(url).__aenter__):
        with pytest.raises(UnusableDatabase, match="revision 9999, which this version of sse-hub does not know"):
            await attempt()
    assert await current(url) == "9999"
    assert tables(file) == {VERSION_TABLE, *metadata.tables}


async def test_an_unknown_revision_is_refused(url: str) -> None:
    with pytest.raises(UnusableDatabase, match="nonesuch"):
        await upgrade(url, "nonesuch")


def corrupt(file: Path) -> str:
    file.write_bytes(b"not a database " * 1000)
    return f"sqlite+aiosqlite:///{file}"


def damaged(file: Path) -> str:
    asyncio.run(upgrade(f"sqlite+aiosqlite:///{file}"))
    content = file.read_bytes()
    file.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    return f"sqlite+aiosqlite:///{file}"


def missing_directory(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file.parent / 'missing' / 'hub.db'}"


def directory(file: Path) -> str:
    file.mkdir()
    return f"sqlite+aiosqlite:///{file}"


def read_only(file: Path) -> str:
    file.touch()
    return f"sqlite+aiosqlite:///file:{file}?mode=ro&uri=true"


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (corrupt, "file is not a database"),
        (damaged, "database disk image is malformed"),
        (missing_directory, "unable to open database file"),
        (directory, "unable to open database file"),
        (read_only, "attempt to write a readonly database"),
    ],
)
async def test_why_a_database_can_not_be_used_is_told_in_one_line(
    file: Path, prepare: Callable[[Path], str], reason: str
) -> None:
    url = await asyncio.to_thread(prepare, file)
    with pytest.raises(UnusableDatabase) as refusal:
        async with open_sql_store(url):
            pass
    assert reason in refusal.value.detail
    assert "\n" not in refusal.value.detail


async def test_a_database_that_stays_locked_is_told(url: str, file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UnusableDatabase, match="database is locked"):
            await upgrade(f"{url}?timeout=0")
        other.execute("ROLLBACK")
    await upgrade(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql+psycopg://hub:secret@db/hub", "postgresql.psycopg: not supported"),
        ("mysql+aiomysql://hub:secret@db/hub", "mysql.aiomysql: not supported"),
        ("sqlite:///hub.db", "sqlite: not supported"),
        ("sqlite+aiosqlite://", "memory"),
        ("sqlite+aiosqlite:///:memory:", "memory"),
        ("sqlite+aiosqlite:///file:hub?mode=memory&uri=true", "memory"),
        ("hub.db", "not one"),
        ("", "not one"),
    ],
)
async def test_a_url_that_is_not_supported_is_refused(url: str, reason: str) -> None:
    with pytest.raises(UnusableDatabase, match=reason) as refusal:
        await upgrade(url)
    assert "secret" not in refusal.value.detail
