"""What a call on a store costs its database: which tables are read through for it, and how many rows are looked at.

Its statements are caught on their way to the driver and made again with the same parameters, to be examined; nothing
that either of them writes is kept.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, event
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql import SqlStore

Call = Callable[[SqlStore], Awaitable[object]]

_STEPS_A_ROW = 10  # of SQLite's virtual machine: so many to look one up, some more to do anything with it
_TRANSACTIONS = 3  # are enough of one call
# One that looks for nothing, and of which a repetition would be refused.
_PLAIN_INSERT = re.compile(r"INSERT (?!.*(CONFLICT|DUPLICATE))", re.DOTALL)


class Cost(NamedTuple):
    """`scanned`: the tables that are read through, without an index. `rows`: how many are looked at, in tables and in
    indexes; every look-up counts as one at least. Where the database may plan in several ways: in the worst of them.
    """

    scanned: frozenset[str]
    rows: int


class Sent(NamedTuple):
    """A statement as it goes to the driver; of several executions at once, the first."""

    sql: str
    parameters: Any


async def cost_of(store: SqlStore, call: Call) -> Cost:
    """What this call costs."""
    all_of_them = [each for transaction in await transactions(store, call) for each in transaction]
    assert all_of_them
    sent = [each for each in all_of_them if not _PLAIN_INSERT.match(each.sql)]
    async with store._connections._writers.connect() as connection:
        return await _EXAMINED[connection.dialect.name](connection, sent)


async def transactions(store: SqlStore, call: Call) -> list[list[Sent]]:
    """What the store sends for a call, of which nothing is kept. A call that goes on, in one transaction after another,
    for as long as it finds something is broken off."""
    made: list[list[Sent]] = [[]]

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:
        if not sql.startswith("BEGIN"):
            made[-1].append(Sent(sql, parameters[0] if many else parameters))

    def undo(connection: Connection) -> None:
        """Leaves the commit nothing to do."""
        made.append([])
        if len(made) > _TRANSACTIONS:
            raise _BrokenOffError
        driver_connection = connection.connection.dbapi_connection
        assert driver_connection is not None
        driver_connection.rollback()

    connections = store._connections
    with ExitStack() as stack:
        stack.enter_context(suppress(_BrokenOffError))
        for engine in {connections._readers, connections._writers, connections._appender}:
            stack.enter_context(_listening(engine.sync_engine, "before_cursor_execute", note))
            stack.enter_context(_listening(engine.sync_engine, "commit", undo))
        await call(store)
    return [transaction for transaction in made if transaction]


class _BrokenOffError(Exception):
    pass


@contextmanager
def _listening(engine: Engine, name: str, function: Callable[..., None]) -> Iterator[None]:
    event.listen(engine, name, function)
    try:
        yield
    finally:
        event.remove(engine, name, function)


async def _on_sqlite(connection: AsyncConnection, sent: Sequence[Sent]) -> Cost:
    raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    plans: list[str] = []
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    for sql, parameters in sent:
        plans += [row[-1] for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)]
        await raw.set_progress_handler(count, 1)
        result = await connection.exec_driver_sql(sql, parameters)
        if result.returns_rows:
            result.all()
        await raw.set_progress_handler(None, 1)
    # A scan of the outbox is one in the order of its key, of which only as much is made as is asked for.
    scanned = {plan.split()[1] for plan in plans if plan.startswith("SCAN app_sse_")} - {"app_sse_outbox"}
    return Cost(frozenset(scanned), math.ceil(steps / _STEPS_A_ROW))


async def _on_postgresql(connection: AsyncConnection, sent: Sequence[Sent]) -> Cost:
    """auto_explain tells the plan that was really used. A prepared statement may at any time go over to one that was
    made without regard to the parameters."""
    raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    worst = Cost(frozenset(), 0)
    for mode in ("force_custom_plan", "force_generic_plan"):
        messages: list[str] = []

        def listen(_connection: Any, message: Any, messages: list[str] = messages) -> None:
            messages.append(message.message)

        await connection.exec_driver_sql("LOAD 'auto_explain'")
        for name, value in (_AUTO_EXPLAIN | {"plan_cache_mode": mode}).items():
            await connection.exec_driver_sql(f"SET LOCAL {name} = {value}")
        raw.add_log_listener(listen)
        for sql, parameters in sent:
            await connection.exec_driver_sql(sql, tuple(parameters))
        await connection.rollback()
        await asyncio.sleep(0)  # listeners are called by the event loop
        raw.remove_log_listener(listen)
        plans = [json.loads(message.partition("plan:\n")[2]) for message in messages]
        nodes = [node for plan in plans if plan["Query Text"] in dict(sent) for node in _nodes(plan["Plan"])]
        assert len(plans) >= len(sent)
        scanned = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
        worst = Cost(worst.scanned | scanned, max(worst.rows, sum(map(_rows_of, nodes))))
    return worst


_AUTO_EXPLAIN = {
    "auto_explain.log_min_duration": 0,
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
}


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _rows_of(node: dict[str, Any]) -> int:
    if "Scan" not in node["Node Type"] or not node.keys() & {"Relation Name", "Index Name"}:
        return 0
    rows = sum(node.get(kind, 0) for kind in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"))
    return int((rows + 1) * node["Actual Loops"])


async def _on_mysql(connection: AsyncConnection, sent: Sequence[Sent]) -> Cost:
    scanned: set[str] = set()
    rows = 0
    for sql, parameters in sent:
        for step in (await connection.exec_driver_sql(f"EXPLAIN {sql}", parameters)).mappings():
            if step["type"] == "ALL" and step["select_type"] != "INSERT" and step["table"].startswith("app_sse_"):
                scanned.add(step["table"])
        before = await _reads(connection)
        await connection.exec_driver_sql(sql, parameters)
        rows += await _reads(connection) - before
    await connection.rollback()
    return Cost(frozenset(scanned), rows)


async def _reads(connection: AsyncConnection) -> int:
    """How many rows this connection has looked at so far, but for those of temporary tables."""
    rows = (await connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler%%'")).mappings()
    count = {row["Variable_name"].removeprefix("Handler_"): int(row["Value"]) for row in rows}
    found = sum(count[f"read_{kind}"] for kind in ("first", "last", "key", "next", "prev"))
    rejected = count.get("icp_attempts", 0) - count.get("icp_match", 0)
    return found + rejected


_EXAMINED: dict[str, Callable[[AsyncConnection, Sequence[Sent]], Awaitable[Cost]]] = {
    "sqlite": _on_sqlite,
    "postgresql": _on_postgresql,
    "mysql": _on_mysql,
    "mariadb": _on_mysql,
}
