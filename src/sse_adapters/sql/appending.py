"""Appending to the log, inside a transaction of the caller's.

It begins by raising the log's one row by as many seqs as there are entries. The row stays locked until the commit, so
seqs are given and become visible in one order, on every node (SPEC §1). What turns out to be a repeat gives its seq
back before the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, bindparam, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.column_types import UtcDateTime
from sse_adapters.sql.databases import database_of
from sse_adapters.sql.lookup import messages_by_event_id
from sse_adapters.sql.rows import from_message, to_head
from sse_adapters.sql.schema import log, message
from sse_domain.log import Appended, Commit, Entry, Outcome
from sse_domain.message import Message, accept, same_content

_NOW = bindparam("now", type_=UtcDateTime)
_TAKE_SEQS = update(log).values(
    last_seq=log.c.last_seq + bindparam("taken"),
    latest_created_at=case((log.c.latest_created_at > _NOW, log.c.latest_created_at), else_=_NOW),
)
_TAKE_AND_RETURN = _TAKE_SEQS.returning(log)


async def append_entries(connection: AsyncConnection, entries: Sequence[Entry], now: datetime) -> Commit:
    """Give the new ones among `entries` the next seqs; answer each, in order. See MessageLog.append."""
    extent = await _take_seqs(connection, len(entries), now)
    known = await messages_by_event_id(connection, [e.event_id for e in entries if e.may_repeat])
    appended = _settle(entries, known, extent.last_seq - len(entries), now)
    new = [from_message(message) for outcome, message in appended if outcome is Outcome.NEW]
    if new:
        await database_of(connection).insert_rows(connection, message, new)
    setback = (extent.latest_created_at - now) // timedelta(microseconds=1)
    last_seq = extent.last_seq - len(entries) + len(new)
    if len(new) < len(entries) or setback > extent.clock_setback:
        await connection.execute(
            update(log).values(last_seq=last_seq, clock_setback=max(setback, extent.clock_setback))
        )
    return Commit(appended, replace(to_head(extent), seq=last_seq))


async def _take_seqs(connection: AsyncConnection, count: int, now: datetime) -> Row[Any]:
    """Raise the log's row by so many; as it then is."""
    returns = connection.dialect.update_returning
    result = await connection.execute(_TAKE_AND_RETURN if returns else _TAKE_SEQS, {"taken": count, "now": now})
    return (result if returns else await connection.execute(select(log))).one()


def _settle(entries: Sequence[Entry], known: dict[str, Message], last_seq: int, now: datetime) -> list[Appended]:
    """What becomes of each entry of a batch that follows `last_seq`, where the `known` event_ids are in the log."""
    appended: list[Appended] = []
    for entry in entries:
        draft, event_id = entry.draft, entry.event_id
        earlier = known.get(event_id)
        if earlier is not None:
            same = same_content(draft, earlier)
            appended.append(Appended(Outcome.REPEATED if same else Outcome.CONFLICT, earlier))
            continue
        last_seq += 1
        known[event_id] = accept(draft, event_id=event_id, seq=last_seq, now=now)
        appended.append(Appended(Outcome.NEW, known[event_id]))
    return appended
