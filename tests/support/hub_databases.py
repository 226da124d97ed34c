"""New databases for a hub, of every kind that it runs on, with its tables in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sse_adapters.sql.migrate import upgrade
from tests.support.databases import KINDS, fresh_database

# Those that outlive the process, and all.
DURABLE = ("sqlite", *KINDS)
EVERY = ("memory", *DURABLE)


def on_each(kinds: Iterable[str]) -> pytest.MarkDecorator:
    """Run a test once for each of these kinds of database; its fixture `database_url` is one of that kind."""
    return pytest.mark.parametrize("database_url", kinds, indirect=True)


@asynccontextmanager
async def hub_database(kind: str, directory: Path) -> AsyncIterator[str]:
    """The URL of a new, empty database that a hub can be started on; a file goes into `directory`.

    That of a server is brought up to date as `sse-hub migrate` does it, and dropped at the end of the block.
    """
    if kind == "memory":
        yield "memory://"
    elif kind == "sqlite":
        yield f"sqlite+aiosqlite:///{directory / 'sse-hub.db'}"
    else:
        assert kind in KINDS
        async with fresh_database(kind) as url:
            await upgrade(url)
            yield url
