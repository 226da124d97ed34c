"""The audience rule (SPEC §3.6) as ranges of an index, so that a read costs what the reader is owed, not the log.

An audience is a list of *runs*: one receiver each, with the seqs and event types of it that are admitted. A read is a
run in a *lane*: a priority and the seqs of it that are asked for. `idx_receiver_seq` holds the messages of every run in
every lane together, by seq. Runs and lanes reach a statement as JSON, so a user with a thousand subscriptions is served
by the same statement as one with none.

No two runs of an audience overlap, so no message is found twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CTE, ColumnElement, Integer, Select, String, and_, bindparam, or_, select, true

from sse_adapters.sql.column_types import UtcDateTime
from sse_adapters.sql.dialect import greatest, json_item, json_list, least
from sse_adapters.sql.schema import message, read_mark
from sse_domain.cursor import MAX_SEQ, Positions
from sse_domain.message import Priority, Receiver, ReceiverType
from sse_domain.subscription import Audience

_Run = tuple[str, str, int, int, Sequence[str] | None]  # receiver, after, through, event types

LIMIT = bindparam("limit", type_=Integer)
found = message.alias("found")

EVERYTHING = Positions.level(MAX_SEQ)
# As of then no message has expired.
BEFORE_ALL_TIME = datetime.fromisoformat("0001-01-01T00:00:00+00:00")

NOT_EXPIRED = or_(message.c.expire_at.is_(None), message.c.expire_at > bindparam("now", type_=UtcDateTime))
IS_READ = (
    select(read_mark.c.seq)
    .where(read_mark.c.user_id == bindparam("user_id"), read_mark.c.seq == message.c.id)
    .correlate(message)
    .exists()
)


def reach(
    audience: Audience, after: Sequence[int | None], through: Positions, now: datetime, group: str | None = None
) -> dict[str, Any]:
    """The parameters of every statement here: what `audience` admits and is not expired at `now`.

    Of each priority what lies beyond `after` (None: nothing), up to and including `through`; only messages to `group`,
    if given.
    """
    runs = [run for run in _runs(audience) if group is None or run[:2] == (ReceiverType.GROUP, group)]
    return _parameters(runs, after, through, audience.user_id, now)


def reach_of(receiver: Receiver, after: Positions, through: Positions, now: datetime) -> dict[str, Any]:
    """The same for what is addressed to exactly `receiver`, as nobody has read it."""
    return _parameters([(receiver.type, receiver.id or "", 0, MAX_SEQ, None)], after, through, None, now)


def _parameters(
    runs: Sequence[_Run], after: Sequence[int | None], through: Positions, user_id: str | None, now: datetime
) -> dict[str, Any]:
    lanes = [(p.value, after[p], through[p]) for p in Priority if after[p] is not None]
    return {
        "runs": json.dumps(runs, ensure_ascii=False),
        "lanes": json.dumps(lanes),
        "user_id": user_id,
        "now": now,
    }


def _runs(audience: Audience) -> Iterator[_Run]:
    """Agrees with `Audience.admits`, which is the rule."""
    wanted = None if audience.event_types is None else sorted(audience.event_types)
    yield ReceiverType.BROADCAST, "", 0, MAX_SEQ, wanted
    if audience.user_id is not None:
        yield ReceiverType.USER, audience.user_id, 0, MAX_SEQ, wanted
    if audience.client_id is not None:
        yield ReceiverType.CLIENT, audience.client_id, 0, MAX_SEQ, wanted
    for group in audience.groups:
        yield ReceiverType.GROUP, group, audience.groups_after, MAX_SEQ, wanted
    for group, subscription in audience.subscriptions.items():
        through = audience.groups_after if group in audience.groups else MAX_SEQ
        types: Sequence[str] | None = subscription.event_types
        if types is None:
            types = wanted
        elif wanted is not None:
            types = [name for name in types if name in wanted]
        if subscription.joined_after < through:
            yield ReceiverType.GROUP, group, subscription.joined_after, through, types


def _spans() -> CTE:
    """Every run in every lane. Made once per statement: left to the planner, it is worked out for each message."""
    run, lane = json_list(bindparam("runs", type_=String)), json_list(bindparam("lanes", type_=String))
    spans = select(
        json_item(run.c.value, 0).label("receiver_type"),
        json_item(run.c.value, 1).label("receiver_id"),
        json_item(lane.c.value, 0).label("priority"),
        greatest(json_item(run.c.value, 2), json_item(lane.c.value, 1)).label("after"),
        least(json_item(run.c.value, 3), json_item(lane.c.value, 2)).label("through"),
        json_item(run.c.value, 4).label("event_types"),
    )
    return spans.select_from(run.join(lane, true())).cte("span").prefix_with("MATERIALIZED")


_span = _spans()


def _in_reach(read: bool | None) -> ColumnElement[bool]:
    """The condition on a message of a span; that it is read, that it is not, or (None) either."""
    admitted = json_list(_span.c.event_types)
    return and_(
        message.c.receiver_type == _span.c.receiver_type,
        message.c.receiver_id == _span.c.receiver_id,
        message.c.priority == _span.c.priority,
        message.c.id > _span.c.after,
        message.c.id <= _span.c.through,
        NOT_EXPIRED,
        or_(_span.c.event_types.is_(None), message.c.event_type.in_(select(admitted.c.value).correlate(_span))),
        true() if read is None else IS_READ if read else ~IS_READ,
    )


def every(*columns: Any, read: bool | None) -> Select[Any]:
    """`columns` of every message in reach."""
    return select(*columns).select_from(_span.join(message, _in_reach(read)))


def nearest(
    *columns: Any, read: bool | None, descending: bool = False, where: ColumnElement[bool] | None = None
) -> Select[Any]:
    """`columns` of `found`: in each span the first `limit` messages in reach, by seq; in no order.

    Beyond these nothing is touched. `where` is a further condition on `message`.
    """
    first = select(message.c.id).where(_in_reach(read)).correlate(_span)
    if where is not None:
        first = first.where(where)
    first = first.order_by(message.c.id.desc() if descending else message.c.id).limit(LIMIT)
    return select(*columns).select_from(_span.join(found, found.c.id.in_(first)))
