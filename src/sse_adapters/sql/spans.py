"""One question, asked of many ranges of an index at once.

A *span* is a receiver's messages of one priority and of certain types, with the seqs in a range: a stretch of
`idx_receiver_seq`, in its order. What a reader is owed is a list of spans, from a handful to thousands; no database
finds the first messages of each of them cheaply in one plain join. These techniques do:

- *branches*: a UNION ALL of one SELECT per span, its bounds as parameters. Any database plans it well. Statements come
  in few lengths (spaces are filled with spans of nothing), so they stay prepared.
- *lateral*: the spans come as a table, and a LATERAL SELECT is made for each. Planned once for any number; where a
  database has it and looks into its index with it (PostgreSQL), it is the better one.
- *joined*: the spans come as a table of JSON to the left of a join. Only to sum up whole spans, and only where the left
  side is sure to be gone through first (SQLite): there one sum over all costs far less than one for each of them.
"""

from __future__ import annotations

import json
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
    Table,
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
    """`after` is exclusive, `through` inclusive. `event_types` is empty for all, else each in double quotes. `reader`
    is the user whose read marks count; empty for nobody's."""

    receiver_type: str
    receiver_id: str
    priority: int
    after: int
    through: int
    event_types: str
    reader: str


class SpanColumns(NamedTuple):
    """A span as a statement sees it. `number` is its place among those that are asked about."""

    receiver_type: ColumnElement[str]
    receiver_id: ColumnElement[str]
    priority: ColumnElement[int]
    after: ColumnElement[int]
    through: ColumnElement[int]
    event_types: ColumnElement[str]
    reader: ColumnElement[str]
    number: ColumnElement[int]


_NOTHING = Span("", "", 0, 0, 0, "", "")
_TYPES = SpanColumns(String, String, SmallInteger, BigInteger, BigInteger, String, String, BigInteger)  # type: ignore[arg-type]
# Those of the columns that they are compared with: a database may keep these as something else than text.
_BRANCH_TYPES = _TYPES._replace(
    receiver_type=Identifier(9),  # type: ignore[arg-type]
    receiver_id=Identifier(128),  # type: ignore[arg-type]
    reader=Identifier(128),  # type: ignore[arg-type]
)
_BRANCH_NAMES = [[f"{name}_{place}" for name in SpanColumns._fields] for place in range(MOST_BRANCHES)]


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
            table: dict[str, Any] = dict(zip(Span._fields, map(list, zip(*spans, strict=True)), strict=True))
            table["number"] = list(range(len(spans)))
            return list(await connection.execute(self._lateral(), table | parameters))
        rows: list[Row[Any]] = []
        rest = enumerate(spans)
        while some := list(islice(rest, MOST_BRANCHES)):
            branches = 1 << (len(some) - 1).bit_length()
            some += [(-1, _NOTHING)] * (branches - len(some))
            bounds = {
                name: value
                for names, (number, span) in zip(_BRANCH_NAMES, some, strict=False)
                for name, value in zip(names, (*span, number), strict=True)
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
                        bindparam(name, type_=kind)  # type: ignore[arg-type]
                        for name, kind in zip(_BRANCH_NAMES[place], _BRANCH_TYPES, strict=True)
                    )
                )
            ).subquery(f"span_{place}")
            for place in range(count)
        ]
        return self._in_order(union_all(*map(select, questions)).subquery("answers"))

    def _make_lateral(self) -> Select[Any]:
        columns: list[ColumnClause[Any]] = [
            column(name, kind)  # type: ignore[arg-type]
            for name, kind in zip(SpanColumns._fields, _TYPES, strict=True)
        ]
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
                spans.c.reader.collate("C"),
                spans.c.number,
            )
        ).lateral("answer")
        return self._in_order(select(question).select_from(spans.join(question, true())).subquery("answers"))

    def _in_order(self, answers: Subquery) -> Select[Any]:
        statement = select(answers)
        return statement if self._order is None else statement.order_by(*self._order.of_statement(answers)).limit(LIMIT)


class SumPerSpan:
    """Sums of the rows of `table` that a condition admits to each of some spans, by `keys`: rows of a span's number,
    the keys, and the sums. `hinted` makes a statement for one span find its index."""

    def __init__(
        self,
        table: Table,
        condition: Callable[[SpanColumns], ColumnElement[bool]],
        keys: Sequence[ColumnElement[Any]],
        sums: Sequence[ColumnElement[Any]],
        hinted: Callable[[Select[Any]], Select[Any]],
    ) -> None:
        self._table = table
        self._condition = condition
        self._keys = keys
        self._sums = sums
        self._each = PerSpan(
            lambda span: hinted(select(span.number, *keys, *sums).where(condition(span)).group_by(*keys))
        )
        self._joined = cache(self._make_joined)

    async def ask(
        self, connection: AsyncConnection, spans: Sequence[Span], parameters: dict[str, Any]
    ) -> list[Row[Any]]:
        """The rows that answer for these spans, all together; none for what there is nothing of."""
        if not database_of(connection).json_spans or not spans:
            return await self._each.ask(connection, spans, parameters)
        return list(await connection.execute(self._joined(), {"spans": json.dumps(spans)} | parameters))

    def _make_joined(self) -> Select[Any]:
        table = func.json_each(bindparam("spans", type_=String)).table_valued("key", "value", name="span")
        fields = (func.json_extract(table.c.value, f"$[{place}]") for place in range(len(Span._fields)))
        span = SpanColumns._make([*fields, table.c.key])
        return (
            select(span.number, *self._keys, *self._sums)
            .select_from(table.outerjoin(self._table, self._condition(span)))
            .group_by(span.number, *self._keys)
            .having(func.count(self._keys[0]) > 0)
        )
