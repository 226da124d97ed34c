"""The audience rule (SPEC §3.6) as ranges of an index, so that a read costs what the reader is owed, not the log.

An audience is a list of *runs*: one receiver each, with the seqs and event types of it that are admitted. A read asks
for them in *lanes*: a priority each, and the seqs of it that are wanted. A run in a lane is a span (see `spans`).

No two runs of an audience overlap, so no message is found twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BinaryExpression,
    Boolean,
    ColumnElement,
    Select,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.operators import eq

from sse_adapters.sql.column_types import UtcDateTime
from sse_adapters.sql.schema import message, read_mark
from sse_adapters.sql.spans import LIMIT, Order, PerSpan, Span, SpanColumns, SumPerSpan
from sse_domain.cursor import MAX_SEQ, Positions
from sse_domain.message import Priority, Receiver, ReceiverType
from sse_domain.subscription import Audience, Subscription

EVERYTHING = Positions.level(MAX_SEQ)
# As of then no message has expired.
BEFORE_ALL_TIME = datetime.fromisoformat("0001-01-01T00:00:00+00:00")

NOT_EXPIRED = or_(message.c.expire_at.is_(None), message.c.expire_at > bindparam("now", type_=UtcDateTime))
_ANY_PRIORITY = message.c.priority.in_([literal_column(str(priority.value)) for priority in Priority])


class Reach(NamedTuple):
    """What of the log is looked through: these spans, less what is expired at `now`."""

    spans: Sequence[Span]
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


def inbox_audience(user_id: str, standing: Iterable[Subscription], event_type: str | None = None) -> Audience:
    """To whom exactly that is visible which is visible to the user (SPEC §4), of one type or of all. `standing` are the
    user's subscriptions."""
    return Audience(
        client_id=None,
        user_id=user_id,
        subscriptions={each.group: each for each in standing},
        event_types=None if event_type is None else frozenset([event_type]),
    )


def reach(
    audience: Audience, after: Sequence[int | None], through: Positions, now: datetime, group: str | None = None
) -> Reach:
    """What `audience` admits and is not expired at `now`.

    Of each priority what lies beyond `after` (None: nothing), up to and including `through`; only messages to `group`,
    if given.
    """
    runs = [run for run in _runs(audience) if group is None or run[:2] == (ReceiverType.GROUP, group)]
    return Reach(list(_spans(runs, _lanes(after, through), audience.user_id)), now)


def reach_beyond(audience: Audience, seq: int, *, marked: bool) -> Iterator[Span]:
    """The spans of all that `audience` admits beyond `seq`, each of every priority: for `sum_of_unread`.

    Unless its user has `marked` anything there as read, they are the same as any other user's who is admitted the same.
    """
    every_lane = (0, seq, MAX_SEQ)
    return _spans(_runs(audience), [every_lane], audience.user_id if marked else None)


def reach_of(receiver: Receiver, after: Positions, through: Positions, now: datetime) -> Reach:
    """The same for what is addressed to exactly `receiver`, as nobody has read it."""
    run = _Run(receiver.type.value, receiver.id or "", 0, MAX_SEQ, None)
    return Reach(list(_spans([run], _lanes(after, through), None)), now)


def _lanes(after: Sequence[int | None], through: Positions) -> list[tuple[int, int, int]]:
    """The priorities that are wanted, each with the seqs of it: the first is exclusive."""
    return [(p.value, lowest, through[p]) for p in Priority if (lowest := after[p]) is not None]


def _spans(runs: Iterable[_Run], lanes: Sequence[tuple[int, int, int]], reader: str | None) -> Iterator[Span]:
    for kind, identity, first, last, types in runs:
        quoted = "" if types is None else ",".join(f'"{name}"' for name in types)
        for priority, lowest, highest in lanes:
            span = Span(kind, identity, priority, max(first, lowest), min(last, highest), quoted, reader or "")
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


def is_read(user_id: ColumnElement[str]) -> ColumnElement[bool]:
    """The condition on a message that the user has marked it as read.

    Not an EXISTS: PostgreSQL may make a join of that, in which it reads all of the user's marks for each message.
    """
    mark = select(read_mark.c.seq).where(read_mark.c.user_id == user_id, read_mark.c.seq == message.c.id)
    return mark.correlate_except(read_mark).scalar_subquery().is_not(None)


class OfReceiver(BinaryExpression[bool]):
    """The condition on a message that it has this `receiver_id`.

    PostgreSQL is told twice, and so expects to find little. In a log that is nearly all one receiver's it would else
    expect nearly every message to be anybody's: and to find the first by seq it would read along the seqs, through all
    of the log for one to whom there is nothing.
    """

    inherit_cache = True

    def __init__(self, receiver_id: ColumnElement[str]) -> None:
        super().__init__(message.c.receiver_id, receiver_id, eq, type_=Boolean())


@compiles(OfReceiver, "postgresql")
def _told_twice(condition: OfReceiver, compiler: SQLCompiler, **options: Any) -> str:
    column, receiver_id = condition.left, condition.right
    return compiler.process(and_(column == receiver_id, column.between(receiver_id, receiver_id)), **options)


def _in_reach(span: SpanColumns, read: bool | None, priority: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition on a message of a span, of this priority; that it is read, that it is not, or (None) either.

    A type is looked for in the text that lists them: no type has a character in it that would have to be escaped.
    """
    quoted = literal('"') + message.c.event_type + literal('"')
    return and_(
        message.c.receiver_type == span.receiver_type,
        OfReceiver(span.receiver_id),
        priority,
        message.c.id > span.after,
        message.c.id <= span.through,
        NOT_EXPIRED,
        or_(span.event_types == "", func.replace(span.event_types, quoted, "") != span.event_types),
        true() if read is None else is_read(span.reader) if read else ~is_read(span.reader),
    )


def by_index(statement: Select[Any]) -> Select[Any]:
    """MySQL would rather read by the primary key what is to be sorted by it, from the beginning of the log."""
    return statement.with_hint(message, "FORCE INDEX (idx_receiver_seq)", "mysql").with_hint(
        message, "FORCE INDEX (idx_receiver_seq)", "mariadb"
    )


@cache
def _nearest(read: bool | None, since: bool, falling: bool, order: Order | None) -> PerSpan:
    def first(span: SpanColumns) -> Select[Any]:
        columns = (message.c.id, message.c.priority, message.c.receiver_type, message.c.data_bytes)
        statement = select(*columns).where(_in_reach(span, read, message.c.priority == span.priority))
        if since:
            statement = statement.where(message.c.created_at >= bindparam("since", type_=UtcDateTime))
        return by_index(statement.order_by(message.c.id.desc() if falling else message.c.id).limit(LIMIT))

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
    parameters: dict[str, Any] = {"now": within.now, "limit": limit}
    if since is not None:
        parameters["since"] = since
    return [Found._make(row) for row in await question.ask(connection, within.spans, parameters)]


async def first_of_each_priority(
    connection: AsyncConnection, within: Reach, *, read: bool | None
) -> tuple[int | None, ...]:
    """Per priority the lowest seq in reach, or None."""
    firsts = await nearest(connection, within, 1, read=read, order=None)
    return tuple(min((found.seq for found in firsts if found.priority == p), default=None) for p in Priority)


def sum_of_unread(keys: Sequence[ColumnElement[Any]], sums: Sequence[ColumnElement[Any]]) -> SumPerSpan:
    """Sums of the unread messages of spans of every priority."""
    return SumPerSpan(message, lambda span: _in_reach(span, False, _ANY_PRIORITY), keys, sums, by_index)
