"""Query parameters: what an operation takes, as one value that both reads requests and describes them in OpenAPI.

Unknown parameters are errors, and so is one that is given twice but doesn't repeat: a misspelt filter must not widen
an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast
from urllib.parse import parse_qsl

from sse_adapters.http.problems import BadRequest, Fault
from sse_domain.errors import InvalidInput

MAX_PARAMETERS = 1100  # in one query string: every parameter there is, repeated as often as one may

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryParameter(Generic[T]):
    """One parameter. `read` makes the value of its text, or raises InvalidInput; `schema` is of the text's meaning."""

    name: str
    read: Callable[[str], T]
    schema: Mapping[str, object]
    description: str
    example: object
    required: bool = False
    repeats: int = 1  # how often it may be given


class Query:
    """The parameters of one request, all of them valid."""

    def __init__(self, values: Mapping[str, Sequence[object]]) -> None:
        self._values = values

    def all(self, parameter: QueryParameter[T]) -> tuple[T, ...]:
        """Every value, in the order given."""
        return tuple(cast("Sequence[T]", self._values.get(parameter.name, ())))

    def get(self, parameter: QueryParameter[T]) -> T | None:
        """The value, or None when it is not given."""
        return next(iter(self.all(parameter)), None)

    def __getitem__(self, parameter: QueryParameter[T]) -> T:
        """The value of a required parameter."""
        return self.all(parameter)[0]


def read_query(query_string: bytes, parameters: Sequence[QueryParameter[Any]]) -> Query:
    """The query's values. Raises BadRequest with all that is wrong."""
    try:
        pairs = parse_qsl(query_string.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeDecodeError:
        raise BadRequest("the query is not UTF-8", code="invalid_query") from None
    except ValueError:
        raise BadRequest("the query has too many parameters", code="invalid_query") from None
    texts: dict[str, list[str]] = {}
    for name, text in pairs:
        texts.setdefault(name, []).append(text)
    values: dict[str, list[object]] = {}
    faults: list[Fault] = []
    for parameter in parameters:
        given = texts.pop(parameter.name, [])
        if len(given) > parameter.repeats:
            times = "once" if parameter.repeats == 1 else f"{parameter.repeats} times"
            faults.append(Fault(parameter.name, f"may be given at most {times}"))
        elif parameter.required and not given:
            faults.append(Fault(parameter.name, "is required"))
        else:
            values[parameter.name] = _read_all(parameter, given, faults)
    faults.extend(Fault(name[:64], "is not a parameter of this call", "unknown_parameter") for name in texts)
    if faults:
        raise BadRequest.of(faults)
    return Query(values)


def _read_all(parameter: QueryParameter[Any], texts: Sequence[str], faults: list[Fault]) -> list[object]:
    values: list[object] = []
    for text in texts:
        try:
            values.append(parameter.read(text))
        except InvalidInput as error:
            faults.append(Fault(parameter.name, error.detail.removeprefix(f"{error.field}: ")))
    return values
