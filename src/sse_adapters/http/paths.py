"""Path segments as their sender wrote them.

Servers and routers hand on a decoded path, in which an encoded slash looks like a separator and bytes that are no UTF-8
were replaced. Identifiers may hold slashes (SPEC §2), so they are read from `raw_path`.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from sse_adapters.http.problems import BadRequest

MAX_SEGMENTS = 100  # far more than any route has: bounds the search


def segments_below(scope: Mapping[str, Any], remainder: str) -> list[str]:
    """The decoded segments of the request's path below its route; an empty one is kept as ''.

    `remainder` is what the router found there, decoded. The route may stand anywhere (SPEC §8: mounted in another
    application), so the segments are looked for from the end: they are the longest tail of the raw path that decodes
    to the remainder. Raises BadRequest for bytes that are no UTF-8.
    """
    wanted = _parts(remainder)
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    segments = raw.decode("latin-1").split("/", MAX_SEGMENTS)
    for start in range(1, len(segments) + 1):
        if _parts(unquote("/".join(segments[start:]))) == wanted:
            return [_decoded(segment) for segment in segments[start:]]
    raise BadRequest("the path can't be read", code="invalid_path")


def last_segment(scope: Mapping[str, Any]) -> str:
    """The one segment that a route ends in as a parameter. Raises BadRequest: there is no route for more."""
    fixed = scope["path_template"].count("/") - 1
    segments = segments_below(scope, "/".join(_parts(scope["path"])[fixed:]))
    if len(segments) != 1:
        raise no_such_path()
    return segments[0]


def no_such_path() -> BadRequest:
    return BadRequest("there is nothing at this path", code="not_found", status=HTTPStatus.NOT_FOUND)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _decoded(segment: str) -> str:
    try:
        return unquote_to_bytes(segment.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise BadRequest("the path is not UTF-8", code="invalid_path") from None
