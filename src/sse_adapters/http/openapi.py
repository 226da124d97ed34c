"""The OpenAPI 3.1 document, made of the operations that the route handlers themselves are driven by.

Litestar's own generator leaves out raw ASGI routes (the streams) and drops nulls from examples, so it is not used.
Schemas are msgspec's, of the very types that requests are decoded into.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPMethod, HTTPStatus
from importlib.metadata import version
from typing import Any, NamedTuple

import msgspec
from litestar import Router
from litestar.handlers import HTTPRouteHandler
from litestar.routes import ASGIRoute, HTTPRoute

from sse_adapters.http.answers import BatchSent, NotSent, Sent
from sse_adapters.http.operation import OPT_KEY, Answer, Operation
from sse_adapters.http.parameters import IDENTIFIER_SCHEMA
from sse_adapters.http.problems import PROBLEM_JSON, Problem
from sse_adapters.http.query import QueryParameter
from sse_adapters.http.schemas import DisconnectAny, MarkRead, SendToOne, To
from sse_adapters.http.stream import FORMS_OPT_KEY

Json = dict[str, Any]

_DESCRIPTION = """Pushes events from a backend to browsers and apps over Server-Sent Events, and keeps the ones that \
matter until they are seen.

Errors are `application/problem+json` (RFC 9457) with a stable `code`. Times are RFC 3339 UTC."""
_REF = "#/components/schemas/{name}"
# What may stand in a batch's results: msgspec takes no list of structs that no tag tells apart.
_RESULTS = (Sent, NotSent)
# Structs of which exactly one of these fields must be given; null counts as not given.
_ALTERNATIVES: Mapping[type[Any], tuple[str, ...]] = {
    SendToOne: ("user_id", "client_id"),
    DisconnectAny: ("user_id", "client_id"),
    To: ("user_id", "client_id", "group", "broadcast"),
    MarkRead: ("event_ids", "up_to", "all"),
}


class _ProblemText(NamedTuple):
    description: str
    code: str
    detail: str


_PROBLEMS: Mapping[HTTPStatus, _ProblemText] = {
    HTTPStatus.BAD_REQUEST: _ProblemText(
        "Something in the request is wrong; `errors` lists every field known to be.",
        "invalid_user_id",
        "user_id: must be 1 to 128 characters, none of them a control character",
    ),
    HTTPStatus.NOT_FOUND: _ProblemText(
        "An id that was given as a position is not in this log.",
        "unknown_event_id",
        "after: no message of this log has that id, and no stream does",
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: _ProblemText(
        "The path takes other methods: see `Allow`.",
        "method_not_allowed",
        "this path does not take this method: see Allow",
    ),
    HTTPStatus.CONFLICT: _ProblemText(
        "The `event_id` is taken by a message with other content.",
        "event_id_conflict",
        "this event_id was used for a message with other content",
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _ProblemText(
        "The body, or the message's `data`, is too large.", "body_too_large", "the body must be at most 1048576 bytes"
    ),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: _ProblemText(
        "The body is not announced as uncompressed JSON.",
        "unsupported_media_type",
        "the body must be application/json in UTF-8",
    ),
    HTTPStatus.INTERNAL_SERVER_ERROR: _ProblemText(
        "A fault of the hub; it is logged.", "internal_error", "the hub failed; it is logged"
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: _ProblemText(
        "Not now: repeat the call unchanged after `Retry-After`. A send may have been committed: repeat it with the "
        "same `event_id`.",
        "store_unavailable",
        "the database does not answer",
    ),
}


def document(routers: Sequence[Router]) -> Json:
    """The document of every operation that these routers serve."""
    operations = [each for router in routers for each in _operations(router)]
    kinds: set[type[Any]] = {Problem, *_RESULTS}
    for _, _, operation in operations:
        kinds.update(answer.kind for answer in operation.answers.values() if answer.kind)
        kinds.update({operation.body} if operation.body else ())
    listed = sorted(kinds, key=lambda kind: kind.__name__)
    schemas, components = msgspec.json.schema_components(listed, schema_hook=_any_json, ref_template=_REF)
    schema_of = dict(zip(listed, schemas, strict=True))
    results = components[BatchSent.__name__]["properties"]["results"]
    results["items"] = {"anyOf": [schema_of[kind] for kind in _RESULTS]}
    for kind, names in _ALTERNATIVES.items():
        components[kind.__name__]["oneOf"] = [_only(name, names) for name in names]
    paths: dict[str, Json] = {}
    for path, method, operation in operations:
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, operation, schema_of)
    tags = dict.fromkeys(operation.tag for _, _, operation in operations)
    return {
        "openapi": "3.1.0",
        "info": {"title": "sse-hub", "version": version("sse-hub"), "description": _DESCRIPTION},
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {"schemas": components},
    }


def _any_json(kind: type[Any]) -> Json:
    """The schema of what a store or a bus tells of itself: any JSON, but msgspec wants to hear more than nothing."""
    if kind is object:
        return {"description": "Its own to say."}
    raise TypeError(f"no schema is known of {kind}")


def _operations(router: Router) -> Iterator[tuple[str, str, Operation]]:
    """Path, method and operation of each call that a router serves."""
    for route in router.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                yield from _handler_operations(route.path_format, handler)
        elif isinstance(route, ASGIRoute) and not route.path_parameters:
            opt = route.route_handler.opt
            for suffix, operation in opt.get(FORMS_OPT_KEY, {}).items():
                yield route.path_format + suffix, HTTPMethod.GET, operation
            if OPT_KEY in opt:
                yield route.path_format, HTTPMethod.POST, opt[OPT_KEY]


def _handler_operations(path: str, handler: HTTPRouteHandler) -> Iterator[tuple[str, str, Operation]]:
    """HEAD is told by the words of the operation that GET is."""
    if OPT_KEY in handler.opt:
        for method in handler.http_methods - {HTTPMethod.HEAD}:
            yield path, method, handler.opt[OPT_KEY]


def _only(name: str, names: Sequence[str]) -> Json:
    """The schema of an object that gives `name` and none of the other `names`."""
    null = {"type": "null"}
    return {"required": [name], "properties": {each: {"not": null} if each == name else null for each in names}}


def _operation(path: str, method: str, operation: Operation, schema_of: Mapping[type, Json]) -> Json:
    described: Json = {
        "operationId": re.sub(r"[^a-z0-9]+", "_", f"{method}{path}".lower()).strip("_"),
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [
            *(_text_parameter(name, "path", text) for name, text in operation.path_parameters.items()),
            *(_query_parameter(parameter) for parameter in operation.parameters),
            *(_text_parameter(name, "header", text) for name, text in operation.header_parameters.items()),
        ],
        "responses": {
            **{str(status.value): _problem(status) for status in operation.problems},
            **{str(status.value): _answer(answer, schema_of) for status, answer in operation.answers.items()},
        },
    }
    if operation.body is not None:
        examples = {name: {"value": value} for name, value in operation.body_examples.items()}
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": {"schema": schema_of[operation.body], "examples": examples}},
        }
    return described


def _query_parameter(parameter: QueryParameter[Any]) -> Json:
    repeats = parameter.repeats > 1
    schema = dict(parameter.schema)
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.description,
        "schema": {"type": "array", "items": schema, "maxItems": parameter.repeats} if repeats else schema,
        "example": [parameter.example] if repeats else parameter.example,
    }


def _text_parameter(name: str, place: str, description: str) -> Json:
    in_path = place == "path"
    return {
        "name": name,
        "in": place,
        "required": in_path,
        "description": description,
        "schema": dict(IDENTIFIER_SCHEMA) if in_path else {"type": "string"},
    }


def _answer(answer: Answer, schema_of: Mapping[type, Json]) -> Json:
    if answer.kind is None:
        return {"description": answer.description}
    content = {"schema": schema_of[answer.kind], "example": answer.example}
    return {"description": answer.description, "content": {answer.media_type: content}}


def _problem(status: HTTPStatus) -> Json:
    text = _PROBLEMS[status]
    example = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": text.detail,
        "code": text.code,
    }
    content = {PROBLEM_JSON: {"schema": {"$ref": _REF.format(name="Problem")}, "example": example}}
    answer: Json = {"description": text.description, "content": content}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        answer["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "required": True, "schema": {"type": "integer"}}
        }
    return answer
