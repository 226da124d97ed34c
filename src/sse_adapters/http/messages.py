"""A user's messages (SPEC §2, Messages; §4): listing them, marking them read, counting the unread."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from litestar import Controller, Request, Response, get, post

from sse_adapters.http.answers import Marked, Messages, Unread, json_answer, marked
from sse_adapters.http.body import read_json
from sse_adapters.http.operation import READ_PROBLEMS, WRITE_PROBLEMS, Answer, Hub, Operation
from sse_adapters.http.parameters import (
    AFTER,
    EVENT_TYPE,
    GROUP,
    LIMIT,
    ORDER,
    PRIORITY,
    SINCE,
    STATUS,
    USER_ID,
    Order,
)
from sse_adapters.http.schemas import MarkRead
from sse_domain.inbox import DEFAULT_PAGE, InboxQuery, StatusFilter

TAG = "Messages"

_MESSAGES = {
    "messages": [
        {
            "event_id": "order-1042-paid",
            "seq": 1042,
            "event_type": "order.paid",
            "receiver_type": "user",
            "receiver_id": "user123",
            "group": None,
            "priority": 1,
            "data": {"order": 1042},
            "status": "sent",
            "created_at": "2025-03-01T12:00:00.000000Z",
            "expire_at": "2025-03-01T13:00:00.000000Z",
        }
    ],
    "next": None,
}
_UNREAD = {
    "user_id": "user123",
    "total": 3,
    "by_priority": {"normal": 2, "high": 1, "urgent": 0},
    "by_group": {"challenge_456": 2},
    "by_event_type": {"rank_update": 2, "order.paid": 1},
}
_PAGE = {HTTPStatus.OK: Answer(description="One page.", kind=Messages, example=_MESSAGES)}

LIST = Operation(
    tag=TAG,
    summary="List a user's messages",
    description="What is visible to the user: sent to the user, to groups that the user is subscribed to, or to all; "
    "neither expired nor past retention. By seq.",
    parameters=(USER_ID, STATUS, EVENT_TYPE, GROUP, PRIORITY, AFTER, SINCE, ORDER, LIMIT),
    answers=_PAGE,
    problems=(*READ_PROBLEMS, HTTPStatus.NOT_FOUND),
)
LIST_PENDING = Operation(
    tag=TAG,
    summary="List what a user has not been given yet",
    description="Visible, not read, and beyond what any unfiltered stream of the user was given. By seq.",
    parameters=(USER_ID, AFTER, SINCE, LIMIT),
    answers=_PAGE,
    problems=(*READ_PROBLEMS, HTTPStatus.NOT_FOUND),
)
MARK_READ = Operation(
    tag=TAG,
    summary="Mark messages read",
    description="By their ids, up to a position, or all. Ids that are unknown or not visible to the user are ignored. "
    "Marking again changes nothing; the user's other streams are told.",
    body=MarkRead,
    body_examples={
        "these": {"user_id": "user123", "event_ids": ["order-1042-paid"]},
        "up to": {"user_id": "user123", "up_to": "1042-k3v9x0qa"},
        "all": {"user_id": "user123", "all": True},
    },
    answers={
        HTTPStatus.OK: Answer(
            description="How many were newly marked, and what is unread after.",
            kind=Marked,
            example={"marked": 1, "unread": _UNREAD},
        )
    },
    problems=WRITE_PROBLEMS,
)
COUNT_UNREAD = Operation(
    tag=TAG,
    summary="Count a user's unread messages",
    description="At this instant, by priority, group and type.",
    parameters=(USER_ID,),
    answers={HTTPStatus.OK: Answer(description="The counts.", kind=Unread, example=_UNREAD)},
)


class MessagesController(Controller):
    path = "/messages"

    @get(opt=LIST.opt)
    async def list_messages(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        query = LIST.query(request)
        inbox_query = InboxQuery(
            user_id=query[USER_ID],
            status=query.get(STATUS),
            event_type=query.get(EVENT_TYPE),
            group=query.get(GROUP),
            priority=query.get(PRIORITY),
            since=query.get(SINCE),
            descending=query.get(ORDER) is Order.DESC,
            limit=query.get(LIMIT) or DEFAULT_PAGE,
        )
        return json_answer(Messages.of(await push_service.messages(inbox_query, query.get(AFTER))))

    @get("/pending", opt=LIST_PENDING.opt)
    async def list_pending(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        query = LIST_PENDING.query(request)
        inbox_query = InboxQuery(
            user_id=query[USER_ID],
            status=StatusFilter.PENDING,
            since=query.get(SINCE),
            limit=query.get(LIMIT) or DEFAULT_PAGE,
        )
        return json_answer(Messages.of(await push_service.messages(inbox_query, query.get(AFTER))))

    @post("/read", opt=MARK_READ.opt)
    async def mark_read(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        MARK_READ.query(request)
        body = await read_json(request, MarkRead)
        body.check_selection()
        result = await push_service.mark_read(
            body.user_id, event_ids=body.event_ids, up_to=body.up_to, everything=body.all is True
        )
        return json_answer(marked(body.user_id, result))

    @get("/unread", opt=COUNT_UNREAD.opt)
    async def count_unread(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        user_id = COUNT_UNREAD.query(request)[USER_ID]
        counts = await push_service.unread(user_id)
        return json_answer(counts.payload(user_id))
