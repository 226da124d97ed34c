"""Whether what users have not read may have changed, told for many of them at once without looking at what it is.

What is newest to a receiver stands at an end of `idx_receiver_seq`: one look-up a priority. Those of the users' groups
are made within the database, which knows who is in which; one for a group, however many of the users are in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.audience import OfReceiver, by_index
from sse_adapters.sql.column_types import UtcDateTime
from sse_adapters.sql.connections import Connections, tried_again
from sse_adapters.sql.lists import in_list, listed
from sse_adapters.sql.schema import log, marking, message, subscription
from sse_adapters.sql.spans import LIMIT, PerSpan, Span
from sse_domain.cursor import MAX_SEQ
from sse_domain.inbox import UnreadStamp
from sse_domain.message import Priority, ReceiverType
from sse_domain.ports import UnreadStamps

_PRIORITIES: list[ColumnElement[int]] = [literal_column(str(priority.value)) for priority in Priority]


def _newest(kind: ColumnElement[str] | str, identity: ColumnElement[str], priority: ColumnElement[int]) -> Select[Any]:
    """The seq of the newest kept message to this receiver, of this priority."""
    statement = select(message.c.id).where(
        message.c.receiver_type == kind, OfReceiver(identity), message.c.priority == priority
    )
    return by_index(statement.order_by(message.c.id.desc()).limit(literal_column("1")))


def _newest_to_groups() -> Select[Any]:
    """The users who are in a group, each with the seq of the newest message of each priority to any of theirs."""
    membership = (
        select(subscription.c.user_id, subscription.c.group_name)
        .where(in_list(subscription.c.user_id, "user_ids"), subscription.c.status == 1)
        .cte("membership")
    )
    group = select(membership.c.group_name).distinct().cte("their_group")
    seqs = [
        _newest(ReceiverType.GROUP.value, group.c.group_name, priority).correlate(group).scalar_subquery()
        for priority in _PRIORITIES
    ]
    newest = select(group.c.group_name, *seqs).cte("newest")
    for kind in ("postgresql", "sqlite"):  # else they look again for each membership
        newest = newest.prefix_with("MATERIALIZED", dialect=kind)
    name, *columns = newest.c
    return (
        select(membership.c.user_id, *map(func.max, columns))
        .join_from(membership, newest, membership.c.group_name == name)
        .group_by(membership.c.user_id)
    )


_LOG = select(log.c.epoch, log.c.memberships, log.c.removals)
_MARKINGS = select(marking.c.user_id, marking.c.marking).where(in_list(marking.c.user_id, "user_ids"))
_NEWEST_TO_GROUPS = _newest_to_groups()
_NEWEST = PerSpan(lambda span: _newest(span.receiver_type, span.receiver_id, span.priority).add_columns(span.number))
_MARKED_SINCE = (
    select(marking.c.user_id)
    .where(marking.c.marked_at >= bindparam("since", type_=UtcDateTime))
    .order_by(marking.c.marked_at.desc())
    .limit(LIMIT)
)


class SqlUnreadStamps(UnreadStamps):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @tried_again
    async def stamps(self, user_ids: Sequence[str]) -> dict[str, UnreadStamp]:
        users = {"user_ids": listed(user_ids)}
        async with self._connections.reading() as connection:
            epoch, memberships, removals = (await connection.execute(_LOG)).one()
            markings = {row.user_id: row.marking for row in await connection.execute(_MARKINGS, users)}
            newest = await _newest_to(connection, user_ids)
        return {
            user_id: UnreadStamp(epoch, memberships, removals, newest[user_id], markings.get(user_id, 0))
            for user_id in user_ids
        }

    @tried_again
    async def marked_since(self, since: datetime, limit: int) -> list[str]:
        async with self._connections.reading() as connection:
            rows = await connection.execute(_MARKED_SINCE, {"since": since, "limit": limit})
        return list(rows.scalars())


async def _newest_to(connection: AsyncConnection, user_ids: Sequence[str]) -> dict[str, int]:
    """The seq of the newest kept message to each of these users, to a group of theirs, or to everyone; 0 if there is
    none."""
    everyone = Span(ReceiverType.BROADCAST.value, "", 0, 0, MAX_SEQ, "", "")
    alone = [everyone._replace(receiver_type=ReceiverType.USER.value, receiver_id=user_id) for user_id in user_ids]
    spans = [span._replace(priority=priority.value) for span in (everyone, *alone) for priority in Priority]
    newest = dict.fromkeys(["", *user_ids], 0)
    found: Iterable[Sequence[Any]] = await _NEWEST.ask(connection, spans, {})
    for seq, number in found:
        receiver_id = spans[number].receiver_id
        newest[receiver_id] = max(newest[receiver_id], seq)
    for user_id, *seqs in await connection.execute(_NEWEST_TO_GROUPS, {"user_ids": listed(user_ids)}):
        newest[user_id] = max(newest[user_id], *(seq or 0 for seq in seqs))
    return {user_id: max(newest[user_id], newest[""]) for user_id in user_ids}
