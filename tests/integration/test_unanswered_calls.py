"""What a database server does not answer is given up once, after its time, by everyone who waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from sse_adapters.sql.store import SqlStore
from sse_app.sending import draft
from sse_domain.errors import StoreUnavailable
from sse_domain.log import Entry
from sse_domain.message import Receiver
from tests.integration.service.database_faults import DatabaseFaults
from tests.support.databases import KINDS
from tests.support.hub_databases import hub_database
from tests.support.patience import within
from tests.support.tcp_proxy import run_proxy

NOW = datetime(2030, 1, 1, tzinfo=UTC)
_Answer = TypeVar("_Answer")
CONNECTIONS = 5
HANGS_SECONDS = 60  # far more than any of this may take


async def answer(call: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Of a server that does answer, if not always in a short time."""
    async with within(HANGS_SECONDS):
        while True:
            with suppress(StoreUnavailable):
                return await call()


@asynccontextmanager
async def open_store(url: str, *, timeout_seconds: float) -> AsyncIterator[SqlStore]:
    store = SqlStore(url, connections=CONNECTIONS, timeout_seconds=timeout_seconds)
    try:
        await answer(store.start)
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_waits_on_who_came_to_a_connection_at_the_last_moment(kind: str, tmp_path: Path) -> None:
    """Whoever's time is up makes way for others whose time is up as well, while they begin to connect."""
    async with (
        hub_database(kind, tmp_path) as database_url,
        run_proxy(database_url) as (proxy, url),
        open_store(url, timeout_seconds=0.2) as store,
    ):

        async def ask_after(seconds: float) -> None:
            await asyncio.sleep(seconds)
            with pytest.raises(StoreUnavailable):
                await store.log.head()

        proxy.blackhole()
        for _ in range(5):
            async with within(HANGS_SECONDS), asyncio.TaskGroup() as asking:
                for number in range(4 * CONNECTIONS):
                    asking.create_task(ask_after(number / 1000))
        await proxy.heal()
        assert (await answer(store.log.head)).seq == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_lock_is_waited_for_once(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entry = Entry(draft(Receiver.user("ada"), "note", 1, persist=True), "e1", may_repeat=True)
    async with hub_database(kind, tmp_path) as url, open_store(url, timeout_seconds=1.5) as store:
        async with DatabaseFaults(url).log_locked():
            with caplog.at_level(logging.WARNING, "sse_hub.store"), pytest.raises(StoreUnavailable):
                await store.log.append([entry], NOW)
        assert len(caplog.messages) == 1, caplog.text
        assert (await store.log.append([entry], NOW)).head.seq == 1
