"""The connections of one store: a writer, and a few readers that it does not hold up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.dialect import Begin, make_engine
from sse_adapters.sql.errors import translated_errors
from sse_domain.errors import StoreUnavailable

READERS = 4


class Connections:
    """The only way to the database, and so the only place where its errors come out.

    Each transaction is one `async with`, so no reader keeps an old view of the log and none stands in the way of
    removing what is no longer needed.
    """

    def __init__(self, url: URL) -> None:
        self._writer = make_engine(url, Begin.TO_WRITE, connections=1)
        self._readers = make_engine(url, Begin.TO_READ, connections=READERS)
        self._closed = False

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database throughout. Raises StoreUnavailable."""
        self._refuse_when_closed()
        with translated_errors():
            async with self._readers.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that no other writer overlaps: durably committed when left, or undone whole.

        Raises StoreUnavailable; if that happens at the commit, whether it was committed is unknown.
        """
        self._refuse_when_closed()
        with translated_errors():
            async with self._writer.begin() as connection:
                yield connection

    async def close(self) -> None:
        """Close every connection, for good, once no transaction is under way. Idempotent."""
        self._closed = True
        await self._readers.dispose()
        await self._writer.dispose()

    def _refuse_when_closed(self) -> None:
        # An engine would just connect again, and its thread would outlive the store.
        if self._closed:
            raise StoreUnavailable("the store is closed")
