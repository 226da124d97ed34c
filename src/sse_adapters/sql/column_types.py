"""Column types that keep their meaning on every database. Migrations use them too, so what they mean never changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, String, Text, TypeDecorator
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

MYSQL = ("mysql", "mariadb")


def _byte_for_byte(dialect: Dialect) -> dict[str, str]:
    """Case, accents and trailing spaces count. MariaDB and MySQL have no name in common for a collation that does so:
    the binary ones that both have take 'a' for 'a '."""
    mariadb = getattr(dialect, "is_mariadb", False)
    return {"charset": "utf8mb4", "collation": "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"}


class Identifier(TypeDecorator[str]):
    """Up to so many characters, compared byte for byte and sorted by code point (SPEC §2)."""

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in MYSQL:
            return mysql.VARCHAR(self.length, **_byte_for_byte(dialect))
        return String(self.length, collation="C" if dialect.name == "postgresql" else None)


class JsonText(TypeDecorator[str]):
    """JSON as its author spelled it, which no database's own JSON type promises to give back.

    On SQLite the column's type must not be called JSON: that has NUMERIC affinity and turns the text 1.0 into the
    number 1.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return mysql.MEDIUMTEXT(**_byte_for_byte(dialect)) if dialect.name in MYSQL else Text()


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time with microseconds. SQLite keeps it as text of fixed width, which sorts as the time does."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in MYSQL:
            return mysql.DATETIME(fsp=6)
        return DateTime(timezone=dialect.name == "postgresql")

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name == "postgresql":
            return value
        return value.replace(tzinfo=UTC)


# A plain INTEGER PRIMARY KEY is SQLite's own row number: the table is then its own index by seq.
Seq = BigInteger().with_variant(Integer, "sqlite")
