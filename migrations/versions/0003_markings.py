"""What tells a node whether unread counts may have changed: when users last marked anything as read, and a count of
what retention removed.

Who has marked before has no row, as who never has: no node keeps counts from then.
"""

from __future__ import annotations

import sqlalchemy as sa

from sse_adapters.sql.column_types import Identifier, UtcDateTime
from sse_adapters.sql.steps import add_column, create_index, create_table, drop_column, drop_table

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_column("app_sse_log", sa.Column("removals", sa.BigInteger, nullable=False, server_default="0"))
    create_table(
        "app_sse_marking",
        sa.Column("user_id", Identifier(128), primary_key=True),
        sa.Column("marking", sa.BigInteger, nullable=False),
        sa.Column("marked_at", UtcDateTime, nullable=False),
        sqlite_with_rowid=False,
    )
    create_index("idx_marked", "app_sse_marking", ["marked_at"])


def downgrade() -> None:
    drop_table("app_sse_marking")
    drop_column("app_sse_log", "removals")
