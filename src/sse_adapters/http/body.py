"""Request bodies: from bytes to a checked struct, without a number's spelling or a key's order being lost.

`data` stays what its publisher sent because the struct is decoded straight from the body's bytes, with `msgspec.Raw`
for `data`. All checks of JSON syntax but one are the decoder's; it takes the inside of a raw string as it is, so
the body's UTF-8 is checked before.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from http import HTTPStatus
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import msgspec
from litestar import Request
from litestar.types import HTTPReceiveMessage

from sse_adapters.http.problems import BadRequest, Fault
from sse_adapters.http.schemas import PATTERN_SENTENCES
from sse_domain.errors import TooLarge

MAX_BODY = 1024 * 1024
MAX_BATCH_BODY = 16 * 1024 * 1024
MAX_LENGTH_DIGITS = 18  # of a Content-Length that is worth reading as a number
MAX_FAULTS = 20  # told at once

T = TypeVar("T", bound=msgspec.Struct)


async def read_json(request: Request[Any, Any, Any], kind: type[T]) -> T:
    """The request's body as a `kind` (a msgspec Struct). Raises what `read_body` and `decode_json` do."""
    return decode_json(await read_body(request, limit=MAX_BODY), kind)


async def read_body(request: Request[Any, Any, Any], *, limit: int) -> bytes:
    """The bytes of a body that is announced as JSON.

    Raises BadRequest when it is not (415), TooLarge beyond `limit` bytes: what is announced as larger is not read at
    all, and of what turns out larger nothing is kept.
    """
    _check_media_type(request)
    return await _read(request, limit)


async def read_optional_json(request: Request[Any, Any, Any], kind: type[T], default: T) -> T:
    """As `read_json`; `default` for a request that has no body."""
    body = await _read(request, MAX_BODY)
    if not body:
        return default
    _check_media_type(request)
    return decode_json(body, kind)


def decode_json(body: bytes, kind: type[T]) -> T:
    """The struct that this JSON text spells. Raises BadRequest with all that is wrong."""
    try:
        if not body.isascii():
            body.decode()  # only to check it
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.ValidationError as error:
            faults = _faults(body, kind, error)
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8", code="invalid_json") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply", code="invalid_json") from None
    except msgspec.DecodeError as error:
        # The decoder has no word of its own for half of a surrogate pair, which can't be given to any reader as text.
        half = " (or \\ud800 to \\udfff stands without its other half)" if b"\\ud" in body.lower() else ""
        raise BadRequest(f"the body is not JSON: {error}{half}", code="invalid_json") from None
    raise BadRequest.of(faults)


def _check_media_type(request: Request[Any, Any, Any]) -> None:
    media_type, *parameters = _header(request, b"content-type", "").lower().split(";")
    charset = [parameter.strip().replace('"', "") for parameter in parameters]
    if media_type.strip() != "application/json" or charset not in ([], ["charset=utf-8"]):
        raise BadRequest(
            "the body must be application/json in UTF-8",
            code="unsupported_media_type",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    if _header(request, b"content-encoding", "identity").lower() != "identity":
        raise BadRequest(
            "the body must not be compressed",
            code="unsupported_content_encoding",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )


def _header(request: Request[Any, Any, Any], name: bytes, default: str) -> str:
    """A header by its name in lower case, as ASGI has it. Looking up three costs less than making a map of all."""
    return next((value.decode("latin-1") for key, value in request.scope["headers"] if key == name), default)


async def _read(request: Request[Any, Any, Any], limit: int) -> bytes:
    announced = _header(request, b"content-length", "0")
    if len(announced) > MAX_LENGTH_DIGITS or not announced.isdecimal() or int(announced) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    size = 0
    while True:
        event = cast("HTTPReceiveMessage", await request.receive())
        if event["type"] == "http.disconnect":
            raise BadRequest("the body was cut off", code="incomplete_body")
        piece = event["body"]
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
        if not event.get("more_body", False):
            return b"".join(pieces)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body must be at most {limit} bytes", code="body_too_large")


def _faults(body: bytes, kind: type[msgspec.Struct], first: msgspec.ValidationError) -> list[Fault]:
    """The decoder stops at the first fault, so look at each field by itself."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return [Fault("body", str(first))]
    return list(_each_fault(fields, kind))[:MAX_FAULTS] or [Fault("body", str(first))]


def _each_fault(fields: dict[str, msgspec.Raw], kind: type[msgspec.Struct]) -> Iterator[Fault]:
    for field in _fields(kind):
        value = fields.pop(field.encode_name, None)
        if value is None:
            if field.required:
                yield Fault(field.encode_name, "is required")
            continue
        try:
            msgspec.json.decode(value, type=field.type)
        except msgspec.ValidationError as error:
            detail, _, place = str(error).partition(" - at `$")
            yield Fault(field.encode_name + place.rstrip("`"), _readable(detail, field.type))
    for name in fields:
        yield Fault(name[:64], "is not a field of this request", "unknown_field")


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Kept: finding them out leaves something behind that only the garbage collector finds."""
    return msgspec.structs.fields(kind)


def _readable(detail: str, kind: object) -> str:
    """The decoder's words for a fault in a value of this type, in sentences where it says less than it knows."""
    for pattern, sentence in PATTERN_SENTENCES.items():
        if repr(pattern) in detail:
            return sentence
    if not detail.startswith("Invalid enum value"):
        return detail
    values = [msgspec.json.encode(value).decode() for value in _choice(kind)]
    return f"must be {values[0]}" if len(values) == 1 else f"must be one of {', '.join(values)}"


def _choice(kind: object) -> Iterator[object]:
    """The values that a type lists. No field of a request holds two such lists."""
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in _fields(kind):
            yield from _choice(field.type)
    else:
        for part in get_args(kind):
            yield from _choice(part)
