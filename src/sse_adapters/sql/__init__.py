"""Every driven port on a SQL database, through SQLAlchemy Core."""

from sse_adapters.sql.databases import database_for
from sse_adapters.sql.errors import UnusableDatabase
from sse_adapters.sql.store import SqlStore, open_sql_store

__all__ = ["SqlStore", "UnusableDatabase", "database_for", "open_sql_store"]
