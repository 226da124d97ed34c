"""The first tables (SPEC §5).

Every operation is one statement and none needs another one undone with it, so a database without transactional DDL can
run this too.
"""

from __future__ import annotations

import secrets
import string

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")
IDENTIFIER = sa.String(128)
TOKEN = sa.String(64)


def upgrade() -> None:
    op.create_table(
        "app_sse_message",
        sa.Column("id", SEQ, primary_key=True, autoincrement=False),
        sa.Column("event_id", TOKEN, nullable=False),
        sa.Column("event_type", TOKEN, nullable=False),
        sa.Column("receiver_type", sa.String(9), nullable=False),
        sa.Column("receiver_id", IDENTIFIER),
        sa.Column("group_name", IDENTIFIER),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("ttl", sa.Double),
        sa.Column("expire_at", sa.DateTime),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("data_bytes", sa.Integer, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_index("idx_event_id", "app_sse_message", ["event_id"], unique=True)
    op.create_index("idx_receiver_created", "app_sse_message", ["receiver_id", "created_at"])
    op.create_index("idx_group_created", "app_sse_message", ["group_name", "created_at"])
    op.create_index(
        "idx_receiver_seq",
        "app_sse_message",
        ["receiver_type", "receiver_id", "priority", "id", "expire_at", "event_type"],
    )
    op.create_index("idx_created", "app_sse_message", ["created_at"])
    op.create_index("idx_expire", "app_sse_message", ["expire_at"], sqlite_where=sa.text("expire_at IS NOT NULL"))
    op.create_table(
        "app_sse_subscription",
        sa.Column("id", SEQ, primary_key=True),
        sa.Column("user_id", IDENTIFIER, nullable=False),
        sa.Column("group_name", IDENTIFIER, nullable=False),
        sa.Column("event_types", sa.Text),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("joined_after", sa.BigInteger, nullable=False),
    )
    op.create_index("idx_user_group", "app_sse_subscription", ["user_id", "group_name"], unique=True)
    op.create_index("idx_group_status", "app_sse_subscription", ["group_name", "status"])
    op.create_table(
        "app_sse_read",
        sa.Column("user_id", IDENTIFIER, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_index("idx_read_seq", "app_sse_read", ["seq"])
    op.create_table(
        "app_sse_read_floor",
        sa.Column("user_id", IDENTIFIER, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("idx_floor_seq", "app_sse_read_floor", ["seq"])
    op.create_table(
        "app_sse_delivered",
        sa.Column("reader_type", sa.String(9), primary_key=True),
        sa.Column("reader_id", IDENTIFIER, primary_key=True),
        sa.Column("normal", sa.BigInteger, nullable=False),
        sa.Column("high", sa.BigInteger, nullable=False),
        sa.Column("urgent", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.DateTime, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("idx_seen", "app_sse_delivered", ["seen_at"])
    log = op.create_table(
        "app_sse_log",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.String(8), nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("purged_through", sa.BigInteger, nullable=False),
        sa.Column("latest_created_at", sa.DateTime),
        sa.Column("clock_setback", sa.BigInteger, nullable=False),
    )
    # Random, so that a cursor of any other log is recognised as such (SPEC §3.5).
    epoch = "".join(secrets.choice(string.digits + string.ascii_lowercase) for _ in range(8))
    op.bulk_insert(log, [{"id": 1, "epoch": epoch, "last_seq": 0, "purged_through": 0, "clock_setback": 0}])


def downgrade() -> None:
    for table in ("log", "delivered", "read_floor", "read", "subscription", "message"):
        op.drop_table(f"app_sse_{table}")
