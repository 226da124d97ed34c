"""One question, asked of many ranges of an index at once.

A *span* is a receiver's messages of one priority and of certain types, with the seqs in a range: a stretch of
`idx_receiver_seq`, in its order. What a reader is owed is a list of spans, from a handful to thousands; no database
finds the first messages of each of them cheaply in one plain join. Two techniques do:

- *branches*: a UNION ALL of one SELECT per span, its bounds as parameters. Any database plans it well. Statements come
  in few lengths (spaces are filled with spans of nothing), so they stay prepared.
- *lateral*: the spans come as a table, and a LATERAL SELECT is made for each. Planned once for any number; where a
  database has it and looks into its index with it (PostgreSQL), it is the better one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnClause,
    ColumnElement,
    Row,
    Select,
    SmallInteger,
    String,
    Subquery,
    bindparam,
    column,
    func,
    select,
    true,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.column_types import Identifier
from sse_adapters.sql.databases import database_of

MOST_BRANCHES = 64

LIMIT = bindparam("limit", type_=BigInteger)


class Span(NamedTuple):
    """`after` is exclusive, `through` inclusive. `event_types` is empty for all, else each in double quotes."""

    receiver_type: str
    receiver_id: str
    priority: int
    after: int
    through: int
    event_types: str


_NOTHING = Span("", "", 0, 0, 0, "")
_TYPES = Span(String, String, SmallInteger, BigInteger, BigInteger, String)  # type: ignore[arg-type]
# Those of the columns that they are compared with: a database may keep these as something else than text.
_BRANCH_TYPES = _TYPES._replace(receiver_type=Identifier(9), receiver_id=Identifier(128))  # type: ignore[arg-type]


class SpanColumns(NamedTuple):
    """A span as a statement sees it."""

    receiver_type: ColumnElement[str]
    receiver_id: ColumnElement[str]
    priority: ColumnElement[int]
    after: ColumnElement[int]
    through: ColumnElement[int]
    event_types: ColumnElement[str]


class Order(Enum):
    """Of rows that begin with a message's seq and its priority."""

    RISING = "rising"
    FALLING = "falling"
    DELIVERY = "delivery"  # the most urgent first

    def of_statement(self, rows: Subquery) -> list[ColumnElement[Any]]:
        seq, priority = list(rows.c)[:2]
        match self:
            case Order.RISING:
                return [seq]
            case Order.FALLING:
                return [seq.desc()]
            case Order.DELIVERY:
                return [priority.desc(), seq]

    def of_row(self, row: Sequence[int]) -> tuple[int, ...]:
        seq, priority = row[:2]
        match self:
            case Order.RISING:
                return (seq,)
            case Order.FALLING:
                return (-seq,)
            case Order.DELIVERY:
                return (-priority, seq)


class PerSpan:
    """`question` for every one of some spans. With an `order`, only the first `limit` rows of all are answered."""

    def __init__(self, question: Callable[[SpanColumns], Select[Any]], order: Order | None = None) -> None:
        self._question = question
        self._order = order
        self._branches = cache(self._make_branches)
        self._lateral = cache(self._make_lateral)

    async def ask(
        self, connection: AsyncConnection, spans: Sequence[Span], parameters: dict[str, Any]
    ) -> list[Row[Any]]:
        """The rows that answer for these spans, all together."""
        if not spans:
            return []
        if database_of(connection).lateral:
            table = dict(zip(Span._fields, map(list, zip(*spans, strict=True)), strict=True))
            return list(await connection.execute(self._lateral(), table | parameters))
        rows: list[Row[Any]] = []
        rest = iter(spans)
        while some := list(islice(rest, MOST_BRANCHES)):
            branches = 1 << (len(some) - 1).bit_length()
            some += [_NOTHING] * (branches - len(some))
            bounds = {
                f"{name}_{place}": value
                for place, span in enumerate(some)
                for name, value in zip(Span._fields, span, strict=True)
            }
            rows += await connection.execute(self._branches(branches), bounds | parameters)
        if self._order is None or len(spans) <= MOST_BRANCHES:
            return rows
        return sorted(rows, key=self._order.of_row)[: parameters["limit"]]

    def _make_branches(self, count: int) -> Select[Any]:
        questions = [
            self._question(
                SpanColumns(
                    *(
                        bindparam(f"{name}_{place}", type_=kind)  # type: ignore[arg-type]
                        for name, kind in zip(Span._fields, _BRANCH_TYPES, strict=True)
                    )
                )
            ).subquery(f"span_{place}")
            for place in range(count)
        ]
        return self._in_order(union_all(*map(select, questions)).subquery("answers"))

    def _make_lateral(self) -> Select[Any]:
        columns: list[ColumnClause[Any]] = [column(name, kind) for name, kind in zip(Span._fields, _TYPES, strict=True)]  # type: ignore[arg-type]
        arrays = [bindparam(each.name, type_=ARRAY(each.type)) for each in columns]
        spans = func.unnest(*arrays).table_valued(*columns, name="span").render_derived()
        question = self._question(
            SpanColumns(
                spans.c.receiver_type.collate("C"),
                spans.c.receiver_id.collate("C"),
                spans.c.priority,
                spans.c.after,
                spans.c.through,
                spans.c.event_types,
            )
        ).lateral("answer")
        return self._in_order(select(question).select_from(spans.join(question, true())).subquery("answers"))

    def _in_order(self, answers: Subquery) -> Select[Any]:
        statement = select(answers)
        return statement if self._order is None else statement.order_by(*self._order.of_statement(answers)).limit(LIMIT)
