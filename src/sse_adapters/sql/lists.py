"""Lists as parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, bindparam

T = TypeVar("T")


def in_list(column: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
    """Whether a column's value is in the list that `parameter` carries, as `listed` makes one."""
    return column.in_(bindparam(parameter, expanding=True))


def listed(values: Sequence[T]) -> list[T]:
    """These values, the last one repeated until their number is a power of two.

    A statement is made anew for every length of its lists; so there are few, and they stay prepared.
    """
    if not values:
        return []
    return [*values, *[values[-1]] * ((1 << (len(values) - 1).bit_length()) - len(values))]
