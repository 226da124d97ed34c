"""Every driven port on a SQL database: SQLite, through SQLAlchemy Core."""

from sse_adapters.sql.errors import UnusableDatabase
from sse_adapters.sql.store import SqlStore, open_sql_store

__all__ = ["SqlStore", "UnusableDatabase", "open_sql_store"]
