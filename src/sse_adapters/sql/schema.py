"""The tables (SPEC §5). The migrations make them; a test holds this description and the migrations together.

Tables without a generated key hold one row per key and nothing that is not derived from it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, SmallInteger, Table

from sse_adapters.sql.column_types import Identifier, JsonText, Seq, UtcDateTime

Id = Identifier(128)
Token = Identifier(64)

metadata = MetaData()
# Where the database's revision is kept. Not Alembic's usual name: the tables may stand in an application's own
# database, beside its own migrations.
VERSION_TABLE = "app_sse_version"

# `id` is the seq: assigned by the writer, never by the database (SPEC §1). `receiver_id` is empty for a broadcast.
# `data` stands last, so that whatever does not ask for it does not read through it; `data_bytes` is its size in UTF-8.
message = Table(
    "app_sse_message",
    metadata,
    Column("id", Seq, primary_key=True, autoincrement=False),
    Column("event_id", Token, nullable=False),
    Column("event_type", Token, nullable=False),
    Column("receiver_type", Identifier(9), nullable=False),
    Column("receiver_id", Id),
    Column("group_name", Id),
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
_EXPIRES = message.c.expire_at.is_not(None)
Index("idx_expire", message.c.expire_at, sqlite_where=_EXPIRES, postgresql_where=_EXPIRES)

# `joined_after` is the log's head at the join; `event_types` a JSON list, or NULL for every type; `version` the log's
# `memberships` at the last change, so that another node can ask for what has changed since.
subscription = Table(
    "app_sse_subscription",
    metadata,
    Column("id", Seq, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("group_name", Id, nullable=False),
    Column("event_types", JsonText),
    Column("status", SmallInteger, nullable=False),
    Column("joined_after", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False, server_default="0"),
)
Index("idx_user_group", subscription.c.user_id, subscription.c.group_name, unique=True)
Index("idx_group_status", subscription.c.group_name, subscription.c.status)
Index("idx_version", subscription.c.version)

# One row: the log's identity and extent, and the lock that puts appends and membership changes in order. `memberships`
# counts these changes, `removals` how often retention has removed anything for its age. `latest_created_at` is the
# latest time any message was created at, `clock_setback` the most microseconds by which a message was created before
# it.
log = Table(
    "app_sse_log",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("epoch", Identifier(8), nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("purged_through", BigInteger, nullable=False),
    Column("latest_created_at", UtcDateTime),
    Column("clock_setback", BigInteger, nullable=False),
    Column("memberships", BigInteger, nullable=False, server_default="0"),
    Column("removals", BigInteger, nullable=False, server_default="0"),
)

# Messages that were sent inside transactions of the application's own, in the order of `id`, until they are given
# their seq: what is in sight here is committed.
outbox = Table(
    "app_sse_outbox",
    metadata,
    Column("id", Seq, primary_key=True),
    Column("event_id", Token, nullable=False),
    Column("may_repeat", Boolean, nullable=False),
    Column("event_type", Token, nullable=False),
    Column("receiver_type", Identifier(9), nullable=False),
    Column("receiver_id", Id, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("ttl", Double),
    Column("data", JsonText, nullable=False),
)

# The truth about what was read: one row per user and message.
read_mark = Table(
    "app_sse_read",
    metadata,
    Column("user_id", Id, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
Index("idx_read_seq", read_mark.c.seq)

# Derived from it: up to `seq` there is nothing that the user could see and has not read, whether expired or not. So
# counting what is unread can begin there.
read_floor = Table(
    "app_sse_read_floor",
    metadata,
    Column("user_id", Id, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("idx_floor_seq", read_floor.c.seq)

# When a user last marked anything as read, and a number that no other such time has, of whichever user.
marking = Table(
    "app_sse_marking",
    metadata,
    Column("user_id", Id, primary_key=True),
    Column("marking", BigInteger, nullable=False),
    Column("marked_at", UtcDateTime, nullable=False),
    sqlite_with_rowid=False,
)
Index("idx_marked", marking.c.marked_at)

# What a user's or client's unfiltered streams were given, per priority, and when it was last connected.
delivered = Table(
    "app_sse_delivered",
    metadata,
    Column("reader_type", Identifier(9), primary_key=True),
    Column("reader_id", Id, primary_key=True),
    Column("normal", BigInteger, nullable=False),
    Column("high", BigInteger, nullable=False),
    Column("urgent", BigInteger, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    sqlite_with_rowid=False,
)
Index("idx_seen", delivered.c.seen_at)
