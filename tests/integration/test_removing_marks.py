"""Retention removes read marks in portions of their own: a message may have as many as there are users."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select

from sse_adapters.sql import SqlStore, retention
from sse_adapters.sql.schema import read_mark
from sse_domain.cursor import Positions
from sse_domain.inbox import UpTo
from sse_domain.log import Entry
from sse_domain.message import BROADCAST, Draft
from tests.support.stores import STORES

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
USERS = 5


@pytest.fixture(params=[name for name in STORES if name != "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    """With three broadcasts that expire, and one that does not, read by everybody."""
    async with STORES[request.param](tmp_path) as store:
        assert isinstance(store, SqlStore)
        drafts = [
            Draft(receiver=BROADCAST, event_type="note", data=b"{}", persist=True, ttl=ttl) for ttl in (9, 9, 9, None)
        ]
        await store.log.append([Entry(draft, f"event-{n}", False) for n, draft in enumerate(drafts)], NOW)
        for user in range(USERS):
            await store.inbox.mark_read(f"user-{user}", UpTo(Positions.level(4)), NOW)
        yield store


async def marks(store: SqlStore) -> int:
    async with store._connections.reading() as connection:
        return (await connection.execute(select(func.count()).select_from(read_mark))).scalar_one()


async def test_marks_go_in_portions(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[int | str] = []

    def note(_connection: object, cursor: Any, sql: str, *_: object) -> None:
        if sql.startswith("DELETE FROM app_sse_read "):
            removed.append(cursor.rowcount)

    def commit(_connection: object) -> None:
        removed.append("commit")

    monkeypatch.setattr(retention, "MARKS_AT_ONCE", 4)
    event.listen(store._connections._writers.sync_engine, "after_cursor_execute", note)
    event.listen(store._connections._writers.sync_engine, "commit", commit)
    assert await store.retention.remove_expired(LATER, 10) == 3
    assert removed == ["commit", 4, "commit", 4, "commit", 4, "commit", 3, "commit"]


async def test_all_marks_of_a_removed_message_go(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MARKS_AT_ONCE", 5)  # the last portion is full
    assert await store.retention.remove_expired(LATER, 10) == 3
    assert await marks(store) == USERS
    assert await store.retention.remove_older(LATER, 10) == 1
    assert await marks(store) == 0


async def test_marks_that_were_left_over_go_with_the_next_removal(store: SqlStore) -> None:
    await store.retention.remove_expired(LATER, 10)
    async with store._connections.writing() as connection:
        await connection.execute(insert(read_mark), {"user_id": "late", "seq": 2})
    assert await store.retention.remove_older(NOW, 10) == 0
    assert await marks(store) == USERS  # those of the message that is kept
