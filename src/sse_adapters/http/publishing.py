"""Sending (SPEC §2): to one, to a group, to all, and in batches."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from litestar import Controller, Request, Response, post

from sse_adapters.http.answers import BatchSent, NotSent, Sent, json_answer
from sse_adapters.http.body import MAX_BATCH_BODY, decode_json, read_json
from sse_adapters.http.operation import WRITE_PROBLEMS, Answer, Hub, Operation
from sse_adapters.http.problems import problem_of
from sse_adapters.http.schemas import Batch, BatchMessage, Broadcast, SendToGroup, SendToOne
from sse_domain.api import Receipt
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
                            "detail": "to: exactly one receiver must be given",
                            "code": "invalid_to",
                            "errors": [{"field": "to", "detail": "exactly one receiver must be given"}],
                        }
                    },
                ]
            },
        )
    },
    problems=WRITE_PROBLEMS,
)


class PublishingController(Controller):
    @post("/send", opt=SEND.opt)
    async def send(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        SEND.query(request)
        body = await read_json(request, SendToOne)
        return _sent(await push_service.send(body.draft(body.receiver())))

    @post("/send/group", opt=SEND_TO_GROUP.opt)
    async def send_to_group(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        SEND_TO_GROUP.query(request)
        body = await read_json(request, SendToGroup)
        return _sent(await push_service.send(body.draft(Receiver.group(body.group))))

    @post("/broadcast", opt=BROADCAST_TO_ALL.opt)
    async def broadcast(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        BROADCAST_TO_ALL.query(request)
        body = await read_json(request, Broadcast)
        return _sent(await push_service.send(body.draft(BROADCAST)))

    @post("/send/batch", opt=SEND_BATCH.opt)
    async def send_batch(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        SEND_BATCH.query(request)
        batch = await read_json(request, Batch, limit=MAX_BATCH_BODY)
        read = [_draft_or_error(bytes(message)) for message in batch.messages]
        receipts = iter(await push_service.send_batch([each for each in read if isinstance(each, Draft)]))
        results = [next(receipts) if isinstance(each, Draft) else each for each in read]
        return json_answer(BatchSent(results=[_result(each) for each in results]))


def _sent(receipt: Receipt) -> Response[bytes]:
    return json_answer(Sent.of(receipt), HTTPStatus.OK if receipt.repeated else HTTPStatus.CREATED)


def _draft_or_error(message: bytes) -> Draft | SseError:
    try:
        body = decode_json(message, BatchMessage)
        return body.draft(body.to.receiver())
    except SseError as error:
        return error


def _result(outcome: Receipt | SseError) -> Sent | NotSent:
    return NotSent(error=problem_of(outcome)) if isinstance(outcome, SseError) else Sent.of(outcome)
