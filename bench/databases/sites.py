"""Where the databases under measurement are, and what they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import pytest

from sse_adapters.sql.migrate import upgrade
from tests.support.databases import KINDS, server_url
from tests.support.hub_databases import hub_database
from tests.support.sql import query

_CHECKOUT = Path(__file__).parents[2]
_IN_MEMORY = ("tmpfs", "ramfs")

# What tells a kind's version, and the settings that durability and speed hang on.
_VERSION = {"sqlite": "SELECT sqlite_version()", "postgresql": "SHOW server_version", "mysql": "SELECT VERSION()"}
_SETTINGS = {
    "sqlite": (),
    "postgresql": ("fsync", "synchronous_commit", "wal_sync_method", "shared_buffers", "max_wal_size", "autovacuum"),
    "mysql": ("innodb_flush_log_at_trx_commit", "innodb_buffer_pool_size", "innodb_log_file_size", "log_bin"),
}


def missing(kind: str) -> str | None:
    """Why there is no database of this kind to measure; None if there is. A private server, if it takes one, is then
    running.
    """
    for server in KINDS:
        if server == kind:
            try:
                server_url(server)
            except pytest.skip.Exception as reason:
                return str(reason)
    return None


@asynccontextmanager
async def empty_database(kind: str) -> AsyncIterator[str]:
    """The URL of a new database, up to date, for the time of the block."""
    with TemporaryDirectory(prefix="sse-bench-", dir=_directory()) as name:
        async with hub_database(kind, Path(name)) as url:
            await upgrade(url)
            yield url


async def name_of(kind: str) -> str:
    """What product it is and of which version."""
    async with empty_database(kind) as url:
        [(version,)] = await query(url, _VERSION[kind])
    number = str(version).partition("-")[0].partition(" ")[0]
    product = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL"}[kind]
    return f"{'MariaDB' if 'MariaDB' in str(version) else product} {number}"


async def circumstances_of(kind: str) -> str:
    """How it keeps what is committed, and what its speed depends on."""
    if kind == "sqlite":
        return f"a file on {file_system(_directory())}, WAL, synchronous = FULL"
    async with empty_database(kind) as url:
        ask = "SHOW {}" if kind == "postgresql" else "SELECT @@{}"
        values = [(name, (await query(url, ask.format(name)))[0][0]) for name in _SETTINGS[kind]]
    return ", ".join(f"{name} = {value}" for name, value in values)


def file_system(directory: Path) -> str:
    """The type of the file system that a directory is on, such as ext4."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    around = [(each[1], each[2]) for each in mounts if directory.resolve().is_relative_to(each[1])]
    # Of several on one place the last one counts.
    return max(reversed(around), key=lambda each: len(each[0]))[1]


def _directory() -> Path:
    """A directory for files, on a disk if there is any."""
    places = [Path(gettempdir()), Path("/var/tmp"), _CHECKOUT]  # noqa: S108 - a directory is made in it
    return next((place for place in places if file_system(place) not in _IN_MEMORY), places[0])
