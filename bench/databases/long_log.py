# ruff: noqa: S608 - no value comes from outside
"""A log that has been in use for long, made by the database itself in a few statements.

Of every thousand messages one is a broadcast, a hundred are to groups and ten to clients, the others to users; each
receiver's are spread evenly over the whole log, which has one for each second. Every user is subscribed to ten groups.
Half of the users have read all but the end of it, and `user-1` has marked a tenth of the log as read, one by one. Every
user has a marking, of the log's first hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Index, Table, text

from sse_adapters.sql import schema
from sse_adapters.sql.column_types import MYSQL

OWN_GROUPS = 10
_WAITING_IN_OUTBOX = 10_000
# Of every message.
DATA = '"{}"'.format("x" * 38)

# A time so many seconds after 1970 began, as each kind of database has it.
_TIME = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', {}, 'unixepoch')",
    "postgresql": "to_timestamp({})",
    "mysql": "FROM_UNIXTIME({})",
}
# The first million natural numbers.
_DIGITS = " UNION ALL ".join(f"SELECT {digit} AS digit" for digit in range(10))
_NUMBERS = "WITH digits AS ({}) SELECT {} + 1 AS n FROM {} ORDER BY n".format(
    _DIGITS,
    " + ".join(f"{10**place} * d{place}.digit" for place in range(6)),
    ", ".join(f"digits AS d{place}" for place in range(6)),
)


@dataclass(frozen=True, slots=True)
class LongLog:
    """So many messages, at most a million, to `user-0`, `user-1` and so on, and to `group-0` and so on; `beginning` is
    a whole second, after which the first is sent.

    The numbers of both are prime, so that nothing else which recurs in the log recurs with them.
    """

    messages: int = 1_000_000
    users: int = 10_007
    groups: int = 1_009
    beginning: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """When the last message was sent."""
        return self.beginning + timedelta(seconds=self.messages)

    def make(self, connection: Connection) -> None:
        """Make it in the empty tables of a database that is up to date, and have its statistics gathered, which
        servers do by themselves and SQLite does not.
        """
        kind = "mysql" if connection.dialect.name in MYSQL else connection.dialect.name
        if kind == "mysql":
            connection.exec_driver_sql("SET sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT'), time_zone = '+00:00'")
        # A table of its own, in order: so nothing has to be sorted that is made of them.
        connection.exec_driver_sql("CREATE TEMPORARY TABLE numbers (n INTEGER PRIMARY KEY)")
        connection.exec_driver_sql(f"INSERT INTO numbers {_NUMBERS}")
        for table, count, columns in self._tables(_TIME[kind]):
            with _without_indexes(connection, table):
                rows = f"SELECT {', '.join(columns.values())} FROM numbers WHERE n <= {count} ORDER BY n"
                connection.execute(text(f"INSERT INTO {table.name} ({', '.join(columns)}) {rows}"))
        connection.exec_driver_sql("DROP TABLE numbers")
        log = schema.log.update().values(
            last_seq=self.messages, latest_created_at=self.end, memberships=self.users * OWN_GROUPS
        )
        connection.execute(log)
        for table in schema.metadata.tables.values() if kind != "sqlite" else ():
            connection.exec_driver_sql(f"ANALYZE {'TABLE ' * (kind == 'mysql')}{table.name}")

    def _tables(self, time: str) -> Iterator[tuple[Table, int, Mapping[str, str]]]:
        """Each table, with how many rows it gets and what the `n`th of them has in its columns."""
        now = f"{int(self.beginning.timestamp())} + n"
        user, group = f"'user-' || (n * 31 % {self.users})", f"'group-' || (n % {self.groups})"
        message = {
            "id": "n",
            "event_id": "'event-' || n",
            "event_type": "CASE WHEN n % 52 < 13 THEN 'alert' ELSE 'note' END",
            "priority": "CASE WHEN n % 110 < 88 THEN 0 WHEN n % 110 < 99 THEN 1 ELSE 2 END",
            "receiver_type": "CASE WHEN n % 1000 = 0 THEN 'broadcast' WHEN n % 10 = 5 THEN 'group'"
            " WHEN n % 100 = 7 THEN 'client' ELSE 'user' END",
            "receiver_id": f"CASE WHEN n % 1000 = 0 THEN '' WHEN n % 10 = 5 THEN {group} ELSE {user} END",
            "group_name": f"CASE WHEN n % 10 = 5 THEN {group} END",
            "status": "0",
            "ttl": "CASE WHEN n % 4 = 0 THEN 8640000 END",
            "expire_at": f"CASE WHEN n % 4 = 0 THEN {time.format(now + ' + 8640000')} END",
            "created_at": time.format(now),
            "data_bytes": str(len(DATA)),
            "data": f"'{DATA}'",
        }
        yield schema.message, self.messages, message
        yield (
            schema.subscription,
            self.users * OWN_GROUPS,
            {
                "user_id": f"'user-' || (n % {self.users})",
                "group_name": group,
                "event_types": "CASE WHEN n % 7 = 0 THEN '[\"alert\"]' END",
                "status": "1",
                "joined_after": "0",
                "version": "n",
            },
        )
        one, all_three = self.messages // 10, 3 * self.messages // 10
        yield (
            schema.read_mark,
            all_three,
            {
                "user_id": f"CASE WHEN n <= {one} THEN 'user-1' WHEN n <= {2 * one} THEN 'user-' || (2 + n % 5003)"
                f" ELSE 'user-' || ((n * 10 + 7) * 31 % {self.users}) END",
                "seq": f"CASE WHEN n <= {one} THEN n * 10"
                f" WHEN n <= {2 * one} THEN (1 + n % 20) * 1000 ELSE (n - {2 * one}) * 10 + 7 END",
            },
        )
        floor = str(self.messages - self.messages // 100)
        yield schema.read_floor, self.users // 2, {"user_id": "'user-' || (n * 2)", "seq": floor}
        yield (
            schema.marking,
            self.users,
            {"user_id": "'user-' || (n - 1)", "marking": "n", "marked_at": time.format(now)},
        )
        given = f"{self.messages - self.users} + n"
        yield (
            schema.delivered,
            self.users,
            {
                "reader_type": "'user'",
                "reader_id": "'user-' || (n - 1)",
                "normal": given,
                "high": given,
                "urgent": given,
                "seen_at": time.format(now),
            },
        )
        yield (
            schema.outbox,
            _WAITING_IN_OUTBOX,
            {name: message[name] for name in ("event_type", "priority", "ttl", "data")}
            | {
                "receiver_type": "'user'",
                "receiver_id": user,
                "event_id": "'waiting-' || n",
                "may_repeat": "n % 2 = 0",
            },
        )


@contextmanager
def _without_indexes(connection: Connection, table: Table) -> Iterator[None]:
    """It is several times faster to make them afterwards, and on MySQL all of them at once."""
    for index in table.indexes:
        index.drop(connection)
    yield
    if connection.dialect.name in MYSQL:
        added = (f"ADD {'UNIQUE ' * index.unique}INDEX {index.name} ({_columns(index)})" for index in table.indexes)
        connection.exec_driver_sql(f"ALTER TABLE {table.name} {', '.join(added)}")
    else:
        for index in table.indexes:
            index.create(connection)


def _columns(index: Index) -> str:
    return ", ".join(column.name for column in index.columns)
