"""The connections of one store: to write, one of them for the log alone, and to read, which nothing holds up."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sse_adapters.sql.database import Database
from sse_adapters.sql.deadline import Deadline
from sse_adapters.sql.errors import Undone, translated_errors
from sse_domain.errors import StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 3


class Connections:
    """The only way to the database, and so the only place where its errors come out.

    Each transaction is one `async with`, so no reader keeps an old view of the log and none stands in the way of
    removing what is no longer needed. `count` bounds the connections to read, and those to write, of a database that
    is a server; no transaction there takes longer than about `timeout_seconds`.
    """

    def __init__(self, database: Database, url: URL, *, count: int, timeout_seconds: float) -> None:
        self._database = database
        self._readers = database.reading(url, count, timeout_seconds)
        self._writers = database.writing(url, count, timeout_seconds)
        # Whatever else is written, and however many wait for that: appends have a connection of their own.
        self._appender = self._writers if database.one_writer else database.writing(url, 1, timeout_seconds)
        self._timeout_seconds = None if database.one_writer else timeout_seconds
        self._closed = False

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database throughout. Raises StoreUnavailable."""
        with translated_errors():
            async with self._connected(self._readers) as connection, self._undone(connection):
                yield connection

    @asynccontextmanager
    async def writing(self, *, append: bool = False) -> AsyncIterator[AsyncConnection]:
        """A transaction whose every statement sees what is committed; itself durably committed when left, or undone
        whole. `append`: it is one that puts messages into the log.

        Raises Undone, and StoreUnavailable; if that happens at the commit, whether it was committed is unknown.
        """
        with translated_errors():
            # A commit that the database refuses leaves the transaction open; `begin` then rolls it back.
            async with (
                self._connected(self._appender if append else self._writers) as connection,
                connection.begin(),
                self._undone(connection),
            ):
                yield connection

    async def close(self) -> None:
        """Close every connection, for good, once no transaction is under way. Idempotent."""
        self._closed = True
        for engine in (self._readers, self._writers, self._appender):
            await engine.dispose()

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        # An engine would just connect again, and its thread would outlive the store.
        if self._closed:
            raise StoreUnavailable("the store is closed")
        async with Deadline(self._timeout_seconds), engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def _undone(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """Tells when nothing has come of the transaction so far: before its commit, a lost connection undoes it."""
        try:
            yield
        except DBAPIError as error:
            if error.connection_invalidated or self._database.undone(error):
                raise Undone("the database undid the transaction") from error
            raise


def tried_again(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """For a method that is one transaction: when the database undoes it, it is made again."""

    @functools.wraps(method)
    async def several_times(*args: P.args, **options: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            try:
                return await method(*args, **options)
            except Undone:
                continue
        return await method(*args, **options)

    return several_times
