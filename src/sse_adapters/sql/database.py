"""What the store must know about a kind of database. docs/databases.md says how to add one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, ColumnElement, Connection, Delete, Dialect, Executable, Select, Table, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

T = TypeVar("T")


class Database(Protocol):
    """One kind of database.

    `names` are SQLAlchemy's names of its dialect and `driver` the asynchronous driver. `migrates_itself`: a server that
    starts brings the tables up to date, because it may be expected to be alone with them. `one_writer`: one connection
    writes, and the database itself bounds how long a transaction may take. `lateral` and `json_spans`: see `spans`.
    `clock` asks for the time of a server that nodes on several machines may share. `transactional_ddl`: a migration
    that fails leaves nothing behind.
    """

    names: tuple[str, ...]
    driver: str
    example: str
    migrates_itself: bool = False
    one_writer: bool = False
    lateral: bool = False
    json_spans: bool = False
    clock: Select[Any] | None = None
    transactional_ddl: bool = True

    @abstractmethod
    def check(self, url: URL) -> None:
        """Raises UnusableDatabase for a URL of this kind that can't serve as a store."""

    @abstractmethod
    def reading(self, url: URL, connections: int, timeout_seconds: float) -> AsyncEngine:
        """An engine for transactions that see one state of the database throughout, and begin with the newest."""

    @abstractmethod
    def writing(self, url: URL, connections: int, timeout_seconds: float) -> AsyncEngine:
        """An engine for transactions whose every statement sees what is committed, and which are durable."""

    @abstractmethod
    def migrating(self, url: URL, job: Callable[[Connection], T]) -> T:
        """Run `job` in a transaction while no other process runs one so. Blocks; call it in a thread of its own."""

    async def insert_rows(self, connection: AsyncConnection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert some rows at once, their values in the order of the table's columns.

        They go to the driver in bulk: SQLAlchemy's own way costs more for a row than the rest of an append. Dates are
        what it has to translate.
        """
        sql, processors = _bulk_insert(table, connection.dialect)
        columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
        for place, processor in processors:
            columns[place] = map(processor, columns[place])
        await connection.exec_driver_sql(sql, list(zip(*columns, strict=True)))

    @abstractmethod
    def insert_or_raise(self, table: Table, *columns: str) -> Executable:
        """Insert a row, or where its key is taken let `columns` rise to the row's values; they never fall."""

    @abstractmethod
    def delete_some(self, table: Table, which: ColumnElement[bool], limit: ColumnElement[int]) -> Delete:
        """Delete rows of which `which` is true, but at most `limit` of them, no matter which."""

    @abstractmethod
    def undone(self, error: DBAPIError) -> bool:
        """Whether the database reports that it undid the whole transaction, which may succeed when tried again.

        Not so where a lock was waited for in vain: callers would wait as long once more.
        """


@lru_cache(maxsize=8)  # a dialect belongs to one store, and stores come and go
def _bulk_insert(table: Table, dialect: Dialect) -> tuple[str, list[tuple[int, Callable[[Any], Any]]]]:
    """The driver's statement for a row, and what has to be done to its values before, by their place in it."""
    processors: list[tuple[int, Callable[[Any], Any]]] = []
    for place, column in enumerate(table.c):
        processor = column.type.dialect_impl(dialect).bind_processor(dialect)
        if processor is not None:
            processors.append((place, processor))
    return str(insert(table).compile(dialect=dialect)), processors
