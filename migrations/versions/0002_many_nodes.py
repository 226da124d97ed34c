"""What several nodes on one database need: a count of membership changes, and the outbox.

A broadcast has an empty `receiver_id` from here on: not every database can look for NULL by an index.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sse_adapters.sql.column_types import Identifier, JsonText, Seq
from sse_adapters.sql.steps import add_column, create_index, create_table, drop_column, drop_index, drop_table

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TOKEN = Identifier(64)
MESSAGE = sa.table("app_sse_message", sa.column("receiver_type"), sa.column("receiver_id"))


def upgrade() -> None:
    add_column("app_sse_log", sa.Column("memberships", sa.BigInteger, nullable=False, server_default="0"))
    add_column("app_sse_subscription", sa.Column("version", sa.BigInteger, nullable=False, server_default="0"))
    create_index("idx_version", "app_sse_subscription", ["version"])
    create_table(
        "app_sse_outbox",
        sa.Column("id", Seq, primary_key=True),
        sa.Column("event_id", TOKEN, nullable=False),
        sa.Column("may_repeat", sa.Boolean, nullable=False),
        sa.Column("event_type", TOKEN, nullable=False),
        sa.Column("receiver_type", Identifier(9), nullable=False),
        sa.Column("receiver_id", Identifier(128), nullable=False),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("ttl", sa.Double),
        sa.Column("data", JsonText, nullable=False),
    )
    op.execute(MESSAGE.update().where(MESSAGE.c.receiver_type == "broadcast").values(receiver_id=""))


def downgrade() -> None:
    op.execute(MESSAGE.update().where(MESSAGE.c.receiver_type == "broadcast").values(receiver_id=None))
    drop_table("app_sse_outbox")
    drop_index("idx_version", "app_sse_subscription")
    drop_column("app_sse_subscription", "version")
    drop_column("app_sse_log", "memberships")
