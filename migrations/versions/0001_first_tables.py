"""The first tables (SPEC §5).

Each step can be repeated: see sse_adapters.sql.steps.
"""

from __future__ import annotations

import secrets
import string

import sqlalchemy as sa
from alembic import op

from sse_adapters.sql.column_types import Identifier, JsonText, Seq, UtcDateTime
from sse_adapters.sql.steps import create_index, create_table, drop_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

IDENTIFIER = Identifier(128)
TOKEN = Identifier(64)
EXPIRES = sa.text("expire_at IS NOT NULL")


def upgrade() -> None:
    create_table(
        "app_sse_message",
        sa.Column("id", Seq, primary_key=True, autoincrement=False),
        sa.Column("event_id", TOKEN, nullable=False),
        sa.Column("event_type", TOKEN, nullable=False),
        sa.Column("receiver_type", Identifier(9), nullable=False),
        sa.Column("receiver_id", IDENTIFIER),
        sa.Column("group_name", IDENTIFIER),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("ttl", sa.Double),
        sa.Column("expire_at", UtcDateTime),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("data_bytes", sa.Integer, nullable=False),
        sa.Column("data", JsonText, nullable=False),
    )
    create_index("idx_event_id", "app_sse_message", ["event_id"], unique=True)
    create_index("idx_receiver_created", "app_sse_message", ["receiver_id", "created_at"])
    create_index("idx_group_created", "app_sse_message", ["group_name", "created_at"])
    create_index(
        "idx_receiver_seq",
        "app_sse_message",
        ["receiver_type", "receiver_id", "priority", "id", "expire_at", "event_type"],
    )
    create_index("idx_created", "app_sse_message", ["created_at"])
    create_index("idx_expire", "app_sse_message", ["expire_at"], sqlite_where=EXPIRES, postgresql_where=EXPIRES)
    create_table(
        "app_sse_subscription",
        sa.Column("id", Seq, primary_key=True),
        sa.Column("user_id", IDENTIFIER, nullable=False),
        sa.Column("group_name", IDENTIFIER, nullable=False),
        sa.Column("event_types", JsonText),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("joined_after", sa.BigInteger, nullable=False),
    )
    create_index("idx_user_group", "app_sse_subscription", ["user_id", "group_name"], unique=True)
    create_index("idx_group_status", "app_sse_subscription", ["group_name", "status"])
    create_table(
        "app_sse_read",
        sa.Column("user_id", IDENTIFIER, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    create_index("idx_read_seq", "app_sse_read", ["seq"])
    create_table(
        "app_sse_read_floor",
        sa.Column("user_id", IDENTIFIER, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    create_index("idx_floor_seq", "app_sse_read_floor", ["seq"])
    create_table(
        "app_sse_delivered",
        sa.Column("reader_type", Identifier(9), primary_key=True),
        sa.Column("reader_id", IDENTIFIER, primary_key=True),
        sa.Column("normal", sa.BigInteger, nullable=False),
        sa.Column("high", sa.BigInteger, nullable=False),
        sa.Column("urgent", sa.BigInteger, nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
        sqlite_with_rowid=False,
    )
    create_index("idx_seen", "app_sse_delivered", ["seen_at"])
    create_table(
        "app_sse_log",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("epoch", Identifier(8), nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("purged_through", sa.BigInteger, nullable=False),
        sa.Column("latest_created_at", UtcDateTime),
        sa.Column("clock_setback", sa.BigInteger, nullable=False),
    )
    log = sa.table("app_sse_log", *map(sa.column, ("id", "epoch", "last_seq", "purged_through", "clock_setback")))
    if op.get_bind().execute(sa.select(log.c.id)).first() is None:
        # Random, so that a cursor of any other log is recognised as such (SPEC §3.5).
        epoch = "".join(secrets.choice(string.digits + string.ascii_lowercase) for _ in range(8))
        op.bulk_insert(log, [{"id": 1, "epoch": epoch, "last_seq": 0, "purged_through": 0, "clock_setback": 0}])


def downgrade() -> None:
    for table in ("log", "delivered", "read_floor", "read", "subscription", "message"):
        drop_table(f"app_sse_{table}")
