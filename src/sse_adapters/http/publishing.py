"""Sending (SPEC §2): to one, to a group, to all, and in batches."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from litestar import Request
from litestar.handlers import ASGIRouteHandler

from sse_adapters.http.answers import BatchSent, NotSent, Sent
from sse_adapters.http.body import MAX_BATCH_BODY, decode_json, read_body, read_json
from sse_adapters.http.lean_post import post_route
from sse_adapters.http.operation import WRITE_PROBLEMS, Answer, Operation
from sse_adapters.http.problems import BadRequest, problem_of
from sse_adapters.http.schemas import Batch, BatchMessage, Broadcast, SendToGroup, SendToOne, UncheckedBatch
from sse_domain.api import PushService, Receipt
from sse_domain.errors import SseError
from sse_domain.message import BROADCAST, Draft, Receiver

TAG = "Sending"

_EPHEMERAL = {
    "event_id": "0192f0c1a7e4b3d5",
    "seq": None,
    "persisted": False,
    "expire_at": None,
    "connections": 2,
}
_PERSISTED = {
    "event_id": "order-1042-paid",
    "seq": 1042,
    "persisted": True,
    "expire_at": "2025-03-01T13:00:00.000000Z",
    "connections": 1,
}
_NO_RECEIVER = "exactly one of user_id, client_id, group and broadcast must be given"
_ANSWERS = {
    HTTPStatus.CREATED: Answer(
        description="It was sent; with `persist`, it is committed and reaches its whole audience.",
        kind=Sent,
        example=_PERSISTED,
    ),
    HTTPStatus.OK: Answer(
        description="This `event_id` was sent before with the same content: the first answer's identity, nothing new.",
        kind=Sent,
        example={**_PERSISTED, "connections": 0},
    ),
}
_PROBLEMS = (*WRITE_PROBLEMS, HTTPStatus.CONFLICT)

SEND = Operation(
    tag=TAG,
    summary="Send to a user or a client",
    description="Name exactly one of `user_id` (every stream of that user) and `client_id` (that one device or tab).",
    body=SendToOne,
    body_examples={
        "live only": {"user_id": "user123", "event_type": "typing", "data": {"from": "user456"}},
        "kept until read": {
            "user_id": "user123",
            "event_type": "order.paid",
            "data": {"order": 1042},
            "persist": True,
            "priority": "high",
            "ttl": 3600,
            "event_id": "order-1042-paid",
        },
    },
    answers=_ANSWERS,
    problems=_PROBLEMS,
)
SEND_TO_GROUP = Operation(
    tag=TAG,
    summary="Send to a group",
    description="Reaches streams that joined the group and, with `persist`, its durable subscribers.",
    body=SendToGroup,
    body_examples={
        "ranking": {"group": "challenge_456", "event_type": "rank_update", "data": [{"user": "user123", "rank": 1}]}
    },
    answers=_ANSWERS,
    problems=_PROBLEMS,
)
BROADCAST_TO_ALL = Operation(
    tag=TAG,
    summary="Send to everyone",
    description="Reaches every stream and, with `persist`, every user's inbox.",
    body=Broadcast,
    body_examples={"notice": {"event_type": "system", "data": {"message": "Maintenance at 22:00 UTC"}}},
    answers=_ANSWERS,
    problems=_PROBLEMS,
)
SEND_BATCH = Operation(
    tag=TAG,
    summary="Send up to 1000 messages",
    description="In order. Each message has its own result in its own place, so a wrong one fails alone. "
    "The whole body may take 16 MiB.",
    body=Batch,
    body_examples={
        "two": {
            "messages": [
                {"to": {"user_id": "user123"}, "event_type": "alert", "data": {"title": "Hi"}, "persist": True},
                {"to": {"broadcast": True}, "event_type": "system", "data": "tick"},
            ]
        }
    },
    answers={
        HTTPStatus.OK: Answer(
            description="What became of each.",
            kind=BatchSent,
            example={
                "results": [
                    _EPHEMERAL,
                    {
                        "error": {
                            "type": "about:blank",
                            "title": "Bad Request",
                            "status": 400,
                            "detail": f"to: {_NO_RECEIVER}",
                            "code": "invalid_to",
                            "errors": [{"field": "to", "detail": _NO_RECEIVER}],
                        }
                    },
                ]
            },
        )
    },
    problems=WRITE_PROBLEMS,
)


def publishing_routes(service: PushService) -> list[ASGIRouteHandler]:
    """The routes of all calls that send."""

    async def send(request: Request[Any, Any, Any]) -> tuple[HTTPStatus, Sent]:
        body = await read_json(request, SendToOne)
        return _sent(await service.send(body.draft(body.receiver())))

    async def send_to_group(request: Request[Any, Any, Any]) -> tuple[HTTPStatus, Sent]:
        body = await read_json(request, SendToGroup)
        return _sent(await service.send(body.draft(Receiver.group(body.group))))

    async def broadcast(request: Request[Any, Any, Any]) -> tuple[HTTPStatus, Sent]:
        body = await read_json(request, Broadcast)
        return _sent(await service.send(body.draft(BROADCAST)))

    async def send_batch(request: Request[Any, Any, Any]) -> tuple[HTTPStatus, BatchSent]:
        drafts = _drafts_or_errors(await read_body(request, limit=MAX_BATCH_BODY))
        answers = iter(await service.send_batch([each for each in drafts if isinstance(each, Draft)]))
        outcomes = (next(answers) if isinstance(each, Draft) else each for each in drafts)
        return HTTPStatus.OK, BatchSent(results=[_result(outcome) for outcome in outcomes])

    return [
        post_route("/send", SEND, send),
        post_route("/send/group", SEND_TO_GROUP, send_to_group),
        post_route("/broadcast", BROADCAST_TO_ALL, broadcast),
        post_route("/send/batch", SEND_BATCH, send_batch),
    ]


def _sent(receipt: Receipt) -> tuple[HTTPStatus, Sent]:
    return HTTPStatus.OK if receipt.repeated else HTTPStatus.CREATED, Sent.of(receipt)


def _drafts_or_errors(body: bytes) -> list[Draft | SseError]:
    """A batch's messages, in order. Raises BadRequest for what is no batch."""
    try:
        return [_draft_or_error(message) for message in decode_json(body, Batch).messages]
    except BadRequest:  # so some are wrong, and each is looked at by itself
        return [_draft_or_error(bytes(message)) for message in decode_json(body, UncheckedBatch).messages]


def _draft_or_error(message: BatchMessage | bytes) -> Draft | SseError:
    try:
        body = decode_json(message, BatchMessage) if isinstance(message, bytes) else message
        return body.draft(body.to.receiver())
    except SseError as error:
        return error


def _result(outcome: Receipt | SseError) -> Sent | NotSent:
    return NotSent(error=problem_of(outcome)) if isinstance(outcome, SseError) else Sent.of(outcome)
