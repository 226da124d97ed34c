"""The query parameters of every call (SPEC §2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TypeVar

import msgspec

from sse_adapters.http.query import QueryParameter
from sse_adapters.http.schemas import IDENTIFIER_PATTERN, PRIORITIES
from sse_domain.errors import InvalidInput
from sse_domain.inbox import DEFAULT_PAGE, MAX_PAGE, StatusFilter
from sse_domain.message import Priority, check_event_type, check_identifier
from sse_domain.replay import MAX_STREAM_GROUPS, ReplayMode
from sse_domain.subscription import check_event_types

MAX_CURSOR_LENGTH = 256  # four times the longest of ours: what is longer is none
MAX_ONLINE_USERS = 1000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_SECONDS = re.compile(r"[0-9]{1,11}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_MAX_EPOCH_SECONDS = 99_999_999_999  # the year 5138
_OFFSET_AFTER_SPACE = re.compile(r" (?=[0-9]{2}:[0-9]{2}\Z)", re.ASCII)

IDENTIFIER_SCHEMA: Mapping[str, object] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 128,
    "pattern": IDENTIFIER_PATTERN,
}
TOKEN_SCHEMA: Mapping[str, object] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 64,
    "pattern": r"^(?!sse\.)[A-Za-z0-9_.:-]+$",
}

_PRIORITIES = {str(spelling): priority for spelling, priority in PRIORITIES.items()}

Choice = TypeVar("Choice", bound=StrEnum)


class Order(StrEnum):
    """By seq."""

    ASC = "asc"
    DESC = "desc"


def _choice(field: str, kind: type[Choice]) -> Callable[[str], Choice]:
    def read(text: str) -> Choice:
        try:
            return kind(text)
        except ValueError:
            raise InvalidInput(field, f"must be one of {', '.join(kind)}") from None

    return read


def _priority(text: str) -> Priority:
    if text not in _PRIORITIES:
        raise InvalidInput("priority", f"must be one of {', '.join(_PRIORITIES)}")
    return _PRIORITIES[text]


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= MAX_PAGE):
        raise InvalidInput("limit", f"must be 1 to {MAX_PAGE}")
    return int(text)


def _flag(text: str) -> bool:
    if text not in ("0", "1", "false", "true"):
        raise InvalidInput("unread", "must be 1 or 0")
    return text in ("1", "true")


def read_since(text: str) -> datetime:
    """A time as RFC 3339 or epoch seconds (SPEC §2), in UTC. Raises InvalidInput.

    A `+` that was not encoded arrives as a space: before an offset it can only have been that.
    """
    try:
        if _EPOCH_SECONDS.fullmatch(text):
            moment = _EPOCH + timedelta(seconds=min(float(text), _MAX_EPOCH_SECONDS))
        else:
            moment = msgspec.convert(_OFFSET_AFTER_SPACE.sub("+", text), datetime)
            if moment.tzinfo is None:
                raise InvalidInput("since", "must say its offset from UTC, such as Z")
            moment = moment.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise InvalidInput("since", "must be RFC 3339 or seconds since 1970") from None
    return max(moment, _EPOCH)


def _position(text: str) -> str:
    if not 1 <= len(text) <= MAX_CURSOR_LENGTH:
        raise InvalidInput("after", f"must be 1 to {MAX_CURSOR_LENGTH} characters")
    return text


def _event_types(text: str) -> tuple[str, ...]:
    return check_event_types(text.split(",")) or ()


USER_ID = QueryParameter(
    name="user_id",
    read=partial(check_identifier, "user_id"),
    schema=IDENTIFIER_SCHEMA,
    description="The user.",
    example="user123",
    required=True,
)
STATUS = QueryParameter(
    name="status",
    read=_choice("status", StatusFilter),
    schema={"type": "string", "enum": list(StatusFilter)},
    description="Only messages that have come this far; `unread` is `pending` or `sent`.",
    example="unread",
)
EVENT_TYPE = QueryParameter(
    name="event_type",
    read=check_event_type,
    schema=TOKEN_SCHEMA,
    description="Only this type.",
    example="rank_update",
)
GROUP = QueryParameter(
    name="group",
    read=partial(check_identifier, "group"),
    schema=IDENTIFIER_SCHEMA,
    description="Only messages to this group.",
    example="challenge_456",
)
PRIORITY = QueryParameter(
    name="priority",
    read=_priority,
    schema={"enum": list(PRIORITIES)},
    description="Only this priority.",
    example="high",
)
AFTER = QueryParameter(
    name="after",
    read=_position,
    schema={"type": "string", "minLength": 1, "maxLength": MAX_CURSOR_LENGTH},
    description="Go on beyond this: an event id, a stream's id, or the `next` of the page before.",
    example="1042-k3v9x0qa",
)
SINCE = QueryParameter(
    name="since",
    read=read_since,
    schema={
        "anyOf": [
            {"type": "string", "format": "date-time"},
            {"type": "number", "minimum": 0, "maximum": _MAX_EPOCH_SECONDS},
        ]
    },
    description="Only from this time on: RFC 3339, or seconds since 1970.",
    example="2025-03-01T12:00:00Z",
)
ORDER = QueryParameter(
    name="order",
    read=_choice("order", Order),
    schema={"type": "string", "enum": list(Order), "default": "asc"},
    description="Oldest first, or newest first.",
    example="desc",
)
LIMIT = QueryParameter(
    name="limit",
    read=_limit,
    schema={"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE},
    description="How many at most.",
    example=50,
)
ONE_USER = replace(USER_ID, required=False, description="Only this user's.")
USERS = replace(USER_ID, repeats=MAX_ONLINE_USERS, description="The users to tell of; repeats.")

STREAM_CLIENT = QueryParameter(
    name="id",
    read=partial(check_identifier, "id"),
    schema=IDENTIFIER_SCHEMA,
    description="The client's identity, stable across its reconnects; without it the hub makes one up.",
    example="phone-7f3a",
)
STREAM_USER = replace(USER_ID, required=False, description="Whose stream it is.")
STREAM_GROUPS = replace(GROUP, repeats=MAX_STREAM_GROUPS, description="A group to join for this connection; repeats.")
LAST_EVENT_ID = QueryParameter(
    name="last_event_id",
    read=lambda text: text[:MAX_CURSOR_LENGTH],
    schema={"type": "string"},
    description="Where to resume, for clients that can't set the `Last-Event-ID` header, which wins.",
    example="1042-k3v9x0qa",
)
STREAM_SINCE = replace(SINCE, description="Recover from this time on: RFC 3339, or seconds since 1970. A cursor wins.")
REPLAY = QueryParameter(
    name="replay",
    read=_choice("replay", ReplayMode),
    schema={"type": "string", "enum": list(ReplayMode), "default": "pending"},
    description="What a stream with neither cursor nor `since` gets first.",
    example="unread",
)
EVENT_TYPES = QueryParameter(
    name="event_types",
    read=_event_types,
    schema={"type": "string", "pattern": "^[A-Za-z0-9_.:-]+(,[A-Za-z0-9_.:-]+)*$"},
    description="Only these types, separated by commas.",
    example="rank_update,alert",
)
UNREAD = QueryParameter(
    name="unread",
    read=_flag,
    schema={"type": "integer", "enum": [0, 1], "default": 0},
    description="Whether to be told the unread counts when they change (`sse.unread`).",
    example=1,
)
