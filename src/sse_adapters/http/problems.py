"""Errors as RFC 9457 problems: one table says which kind of error has which status (SPEC §2).

A problem never repeats a query string, a credential or a publisher's data, and an unforeseen error tells nothing of
itself: it is logged.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap
from msgspec import Meta

from sse_domain.errors import EventIdConflict, InvalidInput, SseError, TooLarge, Unavailable, UnknownEventId

log = logging.getLogger("sse_hub.http")

PROBLEM_JSON = "application/problem+json"

# The nearest base class counts, so a new error of a known kind needs no line here.
STATUS_OF: Mapping[type[SseError], HTTPStatus] = {
    InvalidInput: HTTPStatus.BAD_REQUEST,
    UnknownEventId: HTTPStatus.NOT_FOUND,
    EventIdConflict: HTTPStatus.CONFLICT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

# What the framework's router finds wrong before any of our code is asked.
ROUTING_PROBLEMS: Mapping[int, tuple[str, str]] = {
    HTTPStatus.NOT_FOUND: ("not_found", "there is nothing at this path"),
    HTTPStatus.METHOD_NOT_ALLOWED: ("method_not_allowed", "this path does not take this method: see Allow"),
}


class Fault(NamedTuple):
    """One wrong part of a request, by the name that its sender knows it by. `code` is for names that aren't ours."""

    field: str
    detail: str
    code: str | None = None


class BadRequest(SseError):
    """Input that is wrong in ways that only HTTP has: its syntax, its media type, several fields at once."""

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
        faults: Sequence[Fault] = (),
    ) -> None:
        super().__init__(detail, code=code)
        self.status = status
        self.faults = faults

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> BadRequest:
        """All that is wrong, under the code of the first."""
        first = faults[0]
        field = re.split(r"[.\[]", first.field, maxsplit=1)[0]
        return cls(f"{first.field}: {first.detail}", code=first.code or f"invalid_{field}", faults=faults)


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One wrong field or parameter."""

    field: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong (RFC 9457). `code` is stable: switch on it."""

    type: Annotated[str, Meta(description="Always `about:blank`: `code` says more than a link could.")]
    title: Annotated[str, Meta(description="The status in words.")]
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="What was wrong, for people.")]
    code: Annotated[str, Meta(description="What was wrong, for programs.", pattern="^[a-z_]+$")]
    errors: (
        Annotated[tuple[FieldError, ...], Meta(description="Every field known to be wrong.")] | msgspec.UnsetType
    ) = msgspec.UNSET


def problem_of(error: SseError) -> Problem:
    """The problem that tells of this error."""
    if isinstance(error, BadRequest):
        status, faults = error.status, error.faults
    else:
        kind = next((kind for kind in type(error).__mro__ if kind in STATUS_OF), None)
        status = HTTPStatus.INTERNAL_SERVER_ERROR if kind is None else STATUS_OF[kind]
        faults = ()
        if isinstance(error, InvalidInput):
            faults = (Fault(error.field, error.detail.removeprefix(f"{error.field}: ")),)
    return _problem(status, error.code, error.detail, faults)


def _problem(status: HTTPStatus, code: str, detail: str, faults: Sequence[Fault] = ()) -> Problem:
    return Problem(
        type="about:blank",
        title=status.phrase,
        status=status.value,
        detail=detail,
        code=code,
        errors=tuple(FieldError(field=fault.field, detail=fault.detail) for fault in faults) or msgspec.UNSET,
    )


def _answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    return Response(msgspec.json.encode(problem), status_code=problem.status, media_type=PROBLEM_JSON, headers=headers)


def _tell(request: Request[Any, Any, Any], error: SseError) -> Response[bytes]:
    retry_after = {"Retry-After": str(error.retry_after)} if isinstance(error, Unavailable) else None
    return _answer(problem_of(error), retry_after)


def _tell_routing_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    status = HTTPStatus(error.status_code)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _tell_unforeseen(request, error)
    code, detail = ROUTING_PROBLEMS.get(status, ("bad_request", "the request can't be understood"))
    return _answer(_problem(status, code, detail), error.headers)


def _tell_unforeseen(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    return _answer(_problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "the hub failed; it is logged"))


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    SseError: _tell,
    HTTPException: _tell_routing_error,
    Exception: _tell_unforeseen,
}
