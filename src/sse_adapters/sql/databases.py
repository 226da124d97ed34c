"""The kinds of database that there are, by SQLAlchemy's names for them."""

from __future__ import annotations

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.database import Database
from sse_adapters.sql.errors import UnusableDatabase
from sse_adapters.sql.mysql import MySql
from sse_adapters.sql.postgresql import PostgreSql
from sse_adapters.sql.sqlite import Sqlite

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


def examples() -> str:
    return ", ".join(dict.fromkeys(kind.example for kind in KINDS.values()))
