"""The audience rule (SPEC §3.6) as ranges of an index, so that a read costs what the reader is owed, not the log.

An audience is a list of *runs*: one receiver each, with the seqs and event types of it that are admitted. A read asks
for them in *lanes*: a priority each, and the seqs of it that are wanted. A run in a lane is a span (see `spans`).

No two runs of an audience overlap, so no message is found twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, func, literal, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.column_types import Identifier, UtcDateTime
from sse_adapters.sql.schema import message, read_mark
from sse_adapters.sql.spans import LIMIT, Order, PerSpan, Span, SpanColumns
from sse_domain.cursor import MAX_SEQ, Positions
from sse_domain.message import Priority, Receiver, ReceiverType
from sse_domain.subscription import Audience

EVERYTHING = Positions.level(MAX_SEQ)
# As of then no message has expired.
BEFORE_ALL_TIME = datetime.fromisoformat("0001-01-01T00:00:00+00:00")

NOT_EXPIRED = or_(message.c.expire_at.is_(None), message.c.expire_at > bindparam("now", type_=UtcDateTime))
IS_READ = (
    select(read_mark.c.seq)
    .where(read_mark.c.user_id == bindparam("user_id", type_=Identifier(128)), read_mark.c.seq == message.c.id)
    .correlate(message)
    .exists()
)


class Reach(NamedTuple):
    """What of the log is looked through: these spans, less what is expired at `now`; and whose read marks count."""

    spans: Sequence[Span]
    user_id: str | None
    now: datetime


class Found(NamedTuple):
    """Enough of a message to decide about it. `data_bytes` is the size of its data."""

    seq: int
    priority: int
    receiver_type: str
    data_bytes: int


class _Run(NamedTuple):
    receiver_type: str
    receiver_id: str
    after: int
    through: int
    event_types: Iterable[str] | None


def reach(
    audience: Audience, after: Sequence[int | None], through: Positions, now: datetime, group: str | None = None
) -> Reach:
    """What `audience` admits and is not expired at `now`.

    Of each priority what lies beyond `after` (None: nothing), up to and including `through`; only messages to `group`,
    if given.
    """
    runs = [run for run in _runs(audience) if group is None or run[:2] == (ReceiverType.GROUP, group)]
    return Reach(list(_spans(runs, after, through)), audience.user_id, now)


def reach_of(receiver: Receiver, after: Positions, through: Positions, now: datetime) -> Reach:
    """The same for what is addressed to exactly `receiver`, as nobody has read it."""
    run = _Run(receiver.type.value, receiver.id or "", 0, MAX_SEQ, None)
    return Reach(list(_spans([run], after, through)), None, now)


def _spans(runs: Iterable[_Run], after: Sequence[int | None], through: Positions) -> Iterator[Span]:
    lanes = [(p.value, lowest, through[p]) for p in Priority if (lowest := after[p]) is not None]
    for kind, identity, first, last, types in runs:
        quoted = "" if types is None else ",".join(f'"{name}"' for name in types)
        for priority, lowest, highest in lanes:
            span = Span(kind, identity, priority, max(first, lowest), min(last, highest), quoted)
            if span.after < span.through and (quoted or types is None):
                yield span


def _runs(audience: Audience) -> Iterator[_Run]:
    """Agrees with `Audience.admits`, which is the rule."""
    wanted = None if audience.event_types is None else sorted(audience.event_types)
    yield _Run(ReceiverType.BROADCAST.value, "", 0, MAX_SEQ, wanted)
    if audience.user_id is not None:
        yield _Run(ReceiverType.USER.value, audience.user_id, 0, MAX_SEQ, wanted)
    if audience.client_id is not None:
        yield _Run(ReceiverType.CLIENT.value, audience.client_id, 0, MAX_SEQ, wanted)
    for group in audience.groups:
        yield _Run(ReceiverType.GROUP.value, group, audience.groups_after, MAX_SEQ, wanted)
    for group, subscription in audience.subscriptions.items():
        through = audience.groups_after if group in audience.groups else MAX_SEQ
        types: Sequence[str] | None = subscription.event_types
        if types is None:
            types = wanted
        elif wanted is not None:
            types = [name for name in types if name in wanted]
        yield _Run(ReceiverType.GROUP.value, group, subscription.joined_after, through, types)


def _in_reach(span: SpanColumns, read: bool | None) -> ColumnElement[bool]:
    """The condition on a message of a span; that it is read, that it is not, or (None) either.

    A type is looked for in the text that lists them: no type has a character in it that would have to be escaped.
    """
    quoted = literal('"') + message.c.event_type + literal('"')
    return and_(
        message.c.receiver_type == span.receiver_type,
        message.c.receiver_id == span.receiver_id,
        message.c.priority == span.priority,
        message.c.id > span.after,
        message.c.id <= span.through,
        NOT_EXPIRED,
        or_(span.event_types == "", func.replace(span.event_types, quoted, "") != span.event_types),
        true() if read is None else IS_READ if read else ~IS_READ,
    )


def _by_index(statement: Select[Any]) -> Select[Any]:
    """MySQL would rather read by the primary key what is to be sorted by it, from the beginning of the log."""
    return statement.with_hint(message, "FORCE INDEX (idx_receiver_seq)", "mysql").with_hint(
        message, "FORCE INDEX (idx_receiver_seq)", "mariadb"
    )


@cache
def _nearest(read: bool | None, since: bool, falling: bool, order: Order | None) -> PerSpan:
    def first(span: SpanColumns) -> Select[Any]:
        columns = (message.c.id, message.c.priority, message.c.receiver_type, message.c.data_bytes)
        statement = select(*columns).where(_in_reach(span, read))
        if since:
            statement = statement.where(message.c.created_at >= bindparam("since", type_=UtcDateTime))
        return _by_index(statement.order_by(message.c.id.desc() if falling else message.c.id).limit(LIMIT))

    return PerSpan(first, order)


async def nearest(
    connection: AsyncConnection,
    within: Reach,
    limit: int,
    *,
    read: bool | None,
    order: Order | None,
    since: datetime | None = None,
) -> list[Found]:
    """The first `limit` messages in reach, in this order; with None the first `limit` of each span, in no order.

    Beyond these nothing is touched. `since` leaves out what was created before.
    """
    question = _nearest(read, since is not None, order is Order.FALLING, order)
    parameters = _parameters(within, read) | {"limit": limit}
    if since is not None:
        parameters["since"] = since
    return [Found._make(row) for row in await question.ask(connection, within.spans, parameters)]


async def first_of_each_priority(
    connection: AsyncConnection, within: Reach, *, read: bool | None
) -> tuple[int | None, ...]:
    """Per priority the lowest seq in reach, or None."""
    firsts = await nearest(connection, within, 1, read=read, order=None)
    return tuple(min((found.seq for found in firsts if found.priority == p), default=None) for p in Priority)


def per_span(question: Callable[[ColumnElement[bool]], Select[Any]], *, read: bool | None) -> PerSpan:
    """A question about the messages in reach, which is told them by a condition."""
    return PerSpan(lambda span: _by_index(question(_in_reach(span, read))))


async def ask(connection: AsyncConnection, question: PerSpan, within: Reach) -> list[Row[Any]]:
    return await question.ask(connection, within.spans, _parameters(within, read=False))


def _parameters(within: Reach, read: bool | None) -> dict[str, Any]:
    return {"now": within.now} if read is None else {"now": within.now, "user_id": within.user_id}
