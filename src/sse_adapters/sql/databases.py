"""The kinds of database that there are, by SQLAlchemy's names for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.database import Database
from sse_adapters.sql.errors import UnusableDatabase
from sse_adapters.sql.mysql import MySql
from sse_adapters.sql.postgresql import PostgreSql
from sse_adapters.sql.sqlite import Sqlite

T = TypeVar("T")

KINDS: dict[str, Database] = {name: kind for kind in (Sqlite(), PostgreSql(), MySql()) for name in kind.names}


def database_for(text: str) -> tuple[Database, URL]:
    """The kind of database that a URL names. Raises UnusableDatabase."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise UnusableDatabase(f"the database URL is not one, such as {examples()}") from error
    database = KINDS.get(url.get_backend_name())
    if database is None or url.get_driver_name() != database.driver:
        raise UnusableDatabase(f"{url.drivername}: not supported as a database; use {examples()}")
    database.check(url)
    return database, url


def database_of(connection: AsyncConnection | Connection) -> Database:
    return KINDS[connection.dialect.name]


class PerDatabase(Generic[T]):
    """What each kind of database has in words of its own, made once for each: a statement of SQLAlchemy's may hold
    itself, and one that was made for a single use would stay until the garbage collector comes.
    """

    def __init__(self, make: Callable[[Database], T]) -> None:
        self._make = make
        self._made: dict[str, T] = {}

    def on(self, connection: AsyncConnection) -> T:
        """That of the database which this is a connection to."""
        name = connection.dialect.name
        if name not in self._made:
            self._made[name] = self._make(KINDS[name])
        return self._made[name]


def examples() -> str:
    return ", ".join(dict.fromkeys(kind.example for kind in KINDS.values()))
