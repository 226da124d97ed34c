"""Bringing a database's tables to a revision, and saying which it has (`sse-hub migrate`, and every start).

One run at a time: of two processes that start at once the second waits (Database.migrating) and finds the work done;
within a process a lock does it, because Alembic keeps the run in module globals. A run has a thread of its own, so it
may be awaited in a running loop without holding it up.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from sse_adapters.sql.databases import database_for
from sse_adapters.sql.errors import UnusableDatabase, translated_start_errors
from sse_adapters.sql.schema import VERSION_TABLE

T = TypeVar("T")

_one_run_at_a_time = threading.Lock()


async def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database up to `revision`, creating what is missing. Nothing happens when it is there already.

    Raises UnusableDatabase: the URL is not supported, the database can't be opened or written, it is beyond `revision`,
    or it is newer than this version of the code.
    """
    await asyncio.to_thread(_run, url, lambda config: _upgrade(config, revision))


async def downgrade(url: str, revision: str) -> None:
    """Take the database back to `revision`; `base` removes every table with all that it holds.

    Raises UnusableDatabase, as `upgrade` does: here when the database is not as far as `revision`.
    """
    await asyncio.to_thread(_run, url, lambda config: _downgrade(config, revision))


async def current(url: str) -> str | None:
    """The revision the database has, or None before its first. Raises UnusableDatabase when it can't be opened."""
    return await asyncio.to_thread(_run, url, lambda config: _revision(config.attributes["connection"]))


async def check(url: str) -> None:
    """Raises UnusableDatabase, saying what to run, unless the database has the revision that this version needs."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    revision = await asyncio.to_thread(_run, url, _known_revision)
    if revision != newest:
        shown = database_for(url)[1].render_as_string()
        raise UnusableDatabase(
            f"{shown}: the tables have revision {revision or 'none'}, and this version of sse-hub needs {newest}; "
            "run `sse-hub migrate` with the same settings"
        )


def _run(text: str, job: Callable[[Config], T]) -> T:
    database, url = database_for(text)
    config = _config()

    def on(connection: Connection) -> T:
        config.attributes["connection"] = connection
        return job(config)

    try:
        with _one_run_at_a_time, translated_start_errors(url):
            return database.migrating(url, on)
    except CommandError as error:
        raise UnusableDatabase(f"{url.render_as_string()}: {error}") from error


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    return config


def _upgrade(config: Config, target: str) -> None:
    present, heights = _known_revision(config) or "base", _heights(config)
    if heights.get(target, heights[present]) < heights[present]:
        raise CommandError(f"the tables are at revision {present}, already beyond {target}; going down takes --down")
    command.upgrade(config, target)


def _downgrade(config: Config, target: str) -> None:
    present, heights = _known_revision(config) or "base", _heights(config)
    if heights.get(target, heights[present]) > heights[present]:
        raise CommandError(f"the tables are at revision {present}, still below {target}; going up is without --down")
    command.downgrade(config, target)


def _heights(config: Config) -> dict[str, int]:
    """How far up each revision is, by its name. What else Alembic understands, such as `+1`, it checks by itself."""
    newest_first = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    chain = ["base", *reversed(newest_first)]
    return {revision: height for height, revision in enumerate(chain)} | {"head": len(newest_first)}


def _known_revision(config: Config) -> str | None:
    revision = _revision(config.attributes["connection"])
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise CommandError(
            f"the tables have revision {revision}, which this version of sse-hub does not know; "
            "use the version that made them, or a newer one"
        )
    return revision


def _revision(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def _migrations() -> Path:
    """Where the migrations are: in the installed package, or at the top of a checkout."""
    here = Path(__file__).resolve()
    packaged = here.parent / "migrations"
    return packaged if packaged.is_dir() else here.parents[3] / "migrations"
