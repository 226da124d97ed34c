"""What a stream request says (SPEC §2, Streams): its three URL forms, read and described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from sse_adapters.http.operation import Answer, Operation
from sse_adapters.http.parameters import (
    EVENT_TYPES,
    LAST_EVENT_ID,
    MAX_CURSOR_LENGTH,
    REPLAY,
    STREAM_CLIENT,
    STREAM_GROUPS,
    STREAM_SINCE,
    STREAM_USER,
    UNREAD,
)
from sse_adapters.http.paths import no_such_path, segments_below
from sse_adapters.http.query import QueryParameter, read_query
from sse_domain.message import check_identifier
from sse_domain.replay import ReplayMode, StreamRequest

EVENT_STREAM = "text/event-stream"

_COMMON: tuple[QueryParameter[Any], ...] = (
    STREAM_CLIENT,
    STREAM_GROUPS,
    LAST_EVENT_ID,
    STREAM_SINCE,
    REPLAY,
    EVENT_TYPES,
    UNREAD,
)
_QUERY_FORM: tuple[QueryParameter[Any], ...] = (STREAM_USER, *_COMMON)


def read_stream_request(scope: Mapping[str, Any]) -> StreamRequest:
    """What a request asks for, in any of the three URL forms. Raises BadRequest or InvalidInput."""
    # Of a mounted route Litestar leaves what follows, and it takes any path that begins as the route does.
    below = scope["path"]
    if not below.startswith("/"):
        raise no_such_path()
    segments = segments_below(scope, below)
    query = read_query(scope["query_string"], _COMMON if segments else _QUERY_FORM)
    path_group: tuple[str, ...] = ()
    match segments:
        case []:
            user_id = query.get(STREAM_USER)
        case [user]:
            user_id = check_identifier("user_id", user)
        case [group, user]:
            path_group = (check_identifier("group", group),)
            user_id = check_identifier("user_id", user)
        case _:
            raise no_such_path()
    return StreamRequest(
        client_id=query.get(STREAM_CLIENT),
        user_id=user_id,
        groups=tuple(dict.fromkeys((*path_group, *query.all(STREAM_GROUPS)))),
        event_types=query.get(EVENT_TYPES),
        cursor=_last_event_id(scope["headers"]) or query.get(LAST_EVENT_ID) or None,
        since=query.get(STREAM_SINCE),
        replay=query.get(REPLAY) or ReplayMode.PENDING,
        unread=query.get(UNREAD) or False,
    )


def _last_event_id(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """The header's text as it came. A cursor is never an error: a bad one is answered with `sse.reset`."""
    value = next((value for name, value in headers if name == b"last-event-id"), b"")
    return value[:MAX_CURSOR_LENGTH].decode("latin-1") or None


_EXAMPLE = """retry: 2000

id: 1041-k3v9x0qa

event: sse.open
data: {"connection_id":"Yk3uW0pQ2rTz","client_id":"phone-7f3a","user_id":"user123","groups":["challenge_456"],\
"resumed":false,"complete":true,"unread":{"user_id":"user123","total":1,"by_priority":{"normal":0,"high":1,"urgent":0},\
"by_group":{},"by_event_type":{"order.paid":1}},"heartbeat_seconds":30}

id: 1042-k3v9x0qa
event: order.paid
data: {"order":1042}

"""


def _form(summary: str, description: str, path_parameters: Mapping[str, str]) -> Operation:
    return Operation(
        tag="Streams",
        summary=summary,
        description=description
        + " Application events carry the publisher's JSON as `data`, the type as `event` and, when persisted, a "
        "cursor as `id`, which resumes exactly. The hub's own events begin with `sse.`: `sse.open`, `sse.reset`, "
        "`sse.unread`, `sse.close`. HEAD gives the headers only.",
        parameters=_COMMON if path_parameters else _QUERY_FORM,
        path_parameters=path_parameters,
        header_parameters={"Last-Event-ID": "The cursor to resume from, as a browser sends it by itself."},
        answers={
            HTTPStatus.OK: Answer(
                description="The stream. When overloaded it is ended at once by `sse.close`, with `retry:`.",
                kind=str,
                example=_EXAMPLE,
                media_type=EVENT_STREAM,
            ),
            HTTPStatus.NO_CONTENT: Answer(
                description="The client was disconnected for good moments ago: a native EventSource stops."
            ),
        },
        problems=(HTTPStatus.BAD_REQUEST, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.INTERNAL_SERVER_ERROR),
    )


# Each form's operation, by what it adds to the stream route's path.
STREAM_FORMS: Mapping[str, Operation] = {
    "": _form("Open a stream (query form)", "Everything in the query; a stream may be anonymous.", {}),
    "/{user_id}": _form(
        "Open a user's stream (mixed form)", "The user in the path, groups in the query.", {"user_id": "The user."}
    ),
    "/{group}/{user_id}": _form(
        "Open a user's stream in a group (path form)",
        "Group and user in the path; further groups may follow in the query.",
        {"group": "The group to join for this connection.", "user_id": "The user."},
    ),
}
