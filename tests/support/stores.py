"""Every store there is, for the suites that hold each of them to the contracts of `sse_domain.ports`.

To put another store under contract, add it to STORES.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from sse_adapters.memory import MemoryStore
from sse_adapters.sql.migrate import upgrade
from sse_adapters.sql.schema import log, metadata
from sse_adapters.sql.store import SqlStore, open_sql_store
from sse_domain.log import Entry, Outcome
from sse_domain.message import Draft, Message, Priority, Receiver
from sse_domain.ports import Inbox, LogIdentity, MessageLog, Outbox, Retention, Subscriptions, UnreadStamps
from tests.support.clock import ManualClock
from tests.support.databases import Kind, session_database

EPOCH = "tests123"
SQLITE_FILE = "hub.db"
_UP_TO_DATE: set[str] = set()  # databases whose tables this run has made
_NEW_FILE: list[bytes] = []  # what a file has when its tables were made, once that is known


class Log(MessageLog, LogIdentity, Protocol):
    """Both are of one adapter."""


class Store(Protocol):
    """One adapter per driven port, all over the same messages."""

    @property
    def log(self) -> Log: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def inbox(self) -> Inbox: ...
    @property
    def subscriptions(self) -> Subscriptions: ...
    @property
    def retention(self) -> Retention: ...
    @property
    def stamps(self) -> UnreadStamps: ...


@asynccontextmanager
async def open_memory_store(directory: Path) -> AsyncIterator[Store]:
    yield MemoryStore(epoch=EPOCH)


@asynccontextmanager
async def open_sqlite_store(directory: Path) -> AsyncIterator[Store]:
    """In a file whose tables are there already: making them takes most of a small test."""
    if not _NEW_FILE:
        await upgrade(f"sqlite+aiosqlite:///{directory / SQLITE_FILE}")
        _NEW_FILE.append((directory / SQLITE_FILE).read_bytes())
    (directory / SQLITE_FILE).write_bytes(_NEW_FILE[0])
    async with open_sql_store(f"sqlite+aiosqlite:///{directory / SQLITE_FILE}", epoch=EPOCH) as store:
        yield store


@asynccontextmanager
async def open_server_store(kind: Kind) -> AsyncIterator[Store]:
    """On the database that all tests share, as if it were new."""
    url = session_database(kind)
    if url not in _UP_TO_DATE:
        await upgrade(url)
        _UP_TO_DATE.add(url)
    async with open_sql_store(url, epoch=EPOCH) as store:
        async with store._connections.writing() as connection:
            for table in metadata.tables.values():
                if table is not log:
                    await connection.execute(delete(table))
            counts = dict.fromkeys(("last_seq", "purged_through", "clock_setback", "memberships", "removals"), 0)
            await connection.execute(update(log).values(latest_created_at=None, **counts))
        yield store


# Opens a new, empty store whose log is named EPOCH; files go into the directory, which is empty too.
STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[Store]]] = {
    "memory": open_memory_store,
    "sqlite": open_sqlite_store,
    "postgresql": lambda directory: open_server_store("postgresql"),
    "mysql": lambda directory: open_server_store("mysql"),
}


@asynccontextmanager
async def open_callers_engine(store: Store, directory: Path) -> AsyncIterator[AsyncEngine]:
    """An application's own engine, set up by nobody, on the database whose transactions the store's outbox goes by: the
    store's own, or for the one in memory any at all."""
    url = store._url if isinstance(store, SqlStore) else f"sqlite+aiosqlite:///{directory / 'application.db'}"
    engine = create_async_engine(url)
    try:
        yield engine
    finally:
        await engine.dispose()


def seq_of(message: Message) -> int:
    """The seq of a persisted message."""
    assert message.seq is not None
    return message.seq


class Publisher:
    """Appends messages to a store, at a clock's time, under event_ids of its own: `event-1`, `event-2`, …"""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self._store = store
        self._clock = clock
        self._made = 0

    async def __call__(
        self,
        receiver: Receiver,
        *,
        event_type: str = "note",
        data: bytes = b"{}",
        priority: Priority = Priority.NORMAL,
        ttl: float | None = None,
        event_id: str | None = None,
    ) -> Message:
        """The message that the log now has; it must be new."""
        self._made += 1
        draft = Draft(receiver=receiver, event_type=event_type, data=data, persist=True, priority=priority, ttl=ttl)
        entry = Entry(draft, event_id or f"event-{self._made}", may_repeat=event_id is not None)
        [(outcome, message)] = (await self._store.log.append([entry], self._clock())).appended
        assert outcome is Outcome.NEW
        return message
