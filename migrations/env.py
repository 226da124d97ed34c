"""Runs the migrations over the connection that `sse_adapters.sql.migrate` lends, in its transaction."""

from __future__ import annotations

from alembic import context

from sse_adapters.sql.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
