"""The tables (SPEC §5). The migrations make them; a test holds this description and the migrations together.

Identifiers are compared byte for byte: on SQLite that is the default collation, other databases must be told.
Tables without a generated key hold one row per key and nothing that is not derived from it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time with microseconds. SQLite keeps it as text of fixed width, which sorts as the time does."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


# A plain INTEGER PRIMARY KEY is SQLite's own row number: the table is then its own index by seq.
Seq = BigInteger().with_variant(Integer, "sqlite")
Identifier = String(128)
Token = String(64)
# JSON as its author spelled it. The type must not be called JSON: SQLite would give it NUMERIC affinity and turn the
# text 1.0 into the number 1.
JsonText = Text()

metadata = MetaData()
# Where the database's revision is kept. Not Alembic's usual name: the tables may stand in an application's own
# database, beside its own migrations.
VERSION_TABLE = "app_sse_version"

# `id` is the seq: assigned by the writer, never by the database (SPEC §1). `data` stands last, so that whatever does
# not ask for it does not read through it; `data_bytes` is its size in UTF-8.
message = Table(
    "app_sse_message",
    metadata,
    Column("id", Seq, primary_key=True, autoincrement=False),
    Column("event_id", Token, nullable=False),
    Column("event_type", Token, nullable=False),
    Column("receiver_type", String(9), nullable=False),
    Column("receiver_id", Identifier),
    Column("group_name", Identifier),
    Column("priority", SmallInteger, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("ttl", Double),
    Column("expire_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("data_bytes", Integer, nullable=False),
    Column("data", JsonText, nullable=False),
)
Index("idx_event_id", message.c.event_id, unique=True)
Index("idx_receiver_created", message.c.receiver_id, message.c.created_at)
Index("idx_group_created", message.c.group_name, message.c.created_at)
# One receiver's messages of one priority, by seq. The rest makes counting and looking for them index-only.
Index(
    "idx_receiver_seq",
    message.c.receiver_type,
    message.c.receiver_id,
    message.c.priority,
    message.c.id,
    message.c.expire_at,
    message.c.event_type,
)
Index("idx_created", message.c.created_at)
Index("idx_expire", message.c.expire_at, sqlite_where=message.c.expire_at.is_not(None))

# `joined_after` is the log's head at the join; `event_types` a JSON list, or NULL for every type.
subscription = Table(
    "app_sse_subscription",
    metadata,
    Column("id", Seq, primary_key=True),
    Column("user_id", Identifier, nullable=False),
    Column("group_name", Identifier, nullable=False),
    Column("event_types", JsonText),
    Column("status", SmallInteger, nullable=False),
    Column("joined_after", BigInteger, nullable=False),
)
Index("idx_user_group", subscription.c.user_id, subscription.c.group_name, unique=True)
Index("idx_group_status", subscription.c.group_name, subscription.c.status)

# One row: the log's identity and extent, and the lock that puts appends in order. `latest_created_at` is the latest
# time any message was created at, `clock_setback` the most microseconds by which a message was created before it.
log = Table(
    "app_sse_log",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("epoch", String(8), nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("purged_through", BigInteger, nullable=False),
    Column("latest_created_at", UtcDateTime),
    Column("clock_setback", BigInteger, nullable=False),
)

# The truth about what was read: one row per user and message.
read_mark = Table(
    "app_sse_read",
    metadata,
    Column("user_id", Identifier, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
Index("idx_read_seq", read_mark.c.seq)

# Derived from it: up to `seq` there is nothing that the user could see and has not read, whether expired or not. So
# counting what is unread can begin there.
read_floor = Table(
    "app_sse_read_floor",
    metadata,
    Column("user_id", Identifier, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("idx_floor_seq", read_floor.c.seq)

# What a user's or client's unfiltered streams were given, per priority, and when it was last connected.
delivered = Table(
    "app_sse_delivered",
    metadata,
    Column("reader_type", String(9), primary_key=True),
    Column("reader_id", Identifier, primary_key=True),
    Column("normal", BigInteger, nullable=False),
    Column("high", BigInteger, nullable=False),
    Column("urgent", BigInteger, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    sqlite_with_rowid=False,
)
Index("idx_seen", delivered.c.seen_at)
