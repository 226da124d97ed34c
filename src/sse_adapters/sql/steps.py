"""Steps of a migration. Where each is committed by itself, as on MySQL, it is skipped if it was taken before.

There a migration that failed halfway is run again from its beginning. On other databases it left nothing behind, and
something that stands in its way is not of its making.
"""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import Column, Inspector, inspect
from sqlalchemy.schema import SchemaItem

from sse_adapters.sql.databases import database_of


def create_table(name: str, *items: SchemaItem, **options: Any) -> None:
    if not (_repeatable() and _database().has_table(name)):
        op.create_table(name, *items, **options)


def create_index(name: str, table: str, columns: list[str], **options: Any) -> None:
    if not (_repeatable() and _has_index(table, name)):
        op.create_index(name, table, columns, **options)


def add_column(table: str, column: Column[Any]) -> None:
    if not (_repeatable() and _has_column(table, column.name)):
        op.add_column(table, column)


def drop_table(name: str) -> None:
    if not _repeatable() or _database().has_table(name):
        op.drop_table(name)


def drop_index(name: str, table: str) -> None:
    if not _repeatable() or _has_index(table, name):
        op.drop_index(name, table)


def drop_column(table: str, name: str) -> None:
    if not _repeatable() or _has_column(table, name):
        op.drop_column(table, name)


def _repeatable() -> bool:
    return not database_of(op.get_bind()).transactional_ddl


def _has_index(table: str, name: str) -> bool:
    return any(index["name"] == name for index in _database().get_indexes(table))


def _has_column(table: str, name: str) -> bool:
    return any(column["name"] == name for column in _database().get_columns(table))


def _database() -> Inspector:
    return inspect(op.get_bind())  # afresh each time: an inspector remembers what it saw
