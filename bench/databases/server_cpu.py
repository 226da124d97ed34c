"""The CPU time that a database server on this machine spends on one database's connections."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from tests.support.sql import query

# Each connection's process or thread, by the kernel's number for it. MySQL has no such column: it is left out.
_THREADS = {
    "postgresql": "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT tid FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}
_PROGRAMS = ("postgres", "mariadbd", "mysqld")


async def connection_cpu_seconds(url: str) -> Mapping[int, float]:
    """By process or thread, the CPU seconds that every connection to this database has used so far. Empty where that is
    not to be read: no server, or one on another machine or in a container.
    """
    kind = make_url(url).get_backend_name()
    if kind not in _THREADS:
        return {}
    used = {}
    with suppress(SQLAlchemyError, OSError):
        for (thread,) in await query(url, _THREADS[kind]):
            if _told(thread, "comm") in _PROGRAMS:
                used[thread] = int(_told(thread, "schedstat").split()[0]) / 1e9
    return used


def seconds_between(before: Mapping[int, float], after: Mapping[int, float]) -> float | None:
    """What the connections of `after` used since `before`; None when there are none."""
    return sum(seconds - before.get(thread, 0.0) for thread, seconds in after.items()) if after else None


def _told(thread: int, file: str) -> str:
    return Path(f"/proc/{thread}/{file}").read_text().strip()
