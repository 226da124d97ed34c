"""What one call takes and answers: said once, read by its handler for requests and by OpenAPI for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from sse_adapters.http.query import Query, QueryParameter, read_query
from sse_domain.api import PushService

# How a route handler asks for the hub that its router was made for, under the name `push_service`.
Hub = NamedDependency[SkipValidation[PushService]]

OPT_KEY: Final = "sse_operation"  # under this an operation is found in its route handler's `opt`

READ_PROBLEMS = (HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
WRITE_PROBLEMS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that is no problem. `kind` is the msgspec type of its JSON; an example of it must say every field."""

    description: str
    kind: type[Any] | None = None
    example: object = None
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `body_examples` are by name; `path_parameters` describe each by name."""

    tag: str
    summary: str
    description: str
    answers: Mapping[HTTPStatus, Answer]
    problems: tuple[HTTPStatus, ...] = READ_PROBLEMS
    parameters: tuple[QueryParameter[Any], ...] = ()
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    header_parameters: Mapping[str, str] = field(default_factory=dict)
    body: type[Any] | None = None
    body_required: bool = True
    body_examples: Mapping[str, object] = field(default_factory=dict)

    def __deepcopy__(self, memo: dict[int, object]) -> Operation:
        """Itself: it never changes, and Litestar copies its route handlers several times over."""
        return self

    @property
    def opt(self) -> dict[str, Any]:
        """For the route handler's `opt`."""
        return {OPT_KEY: self}

    def query(self, request: Request[Any, Any, Any]) -> Query:
        """The request's query parameters. Raises BadRequest with all that is wrong."""
        return read_query(request.scope["query_string"], self.parameters)
