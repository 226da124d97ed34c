"""Durable memberships (SPEC §2, Subscriptions)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from litestar import Controller, Request, Response, get, post

from sse_adapters.http.answers import Membership, Memberships, Unsubscribed, json_answer
from sse_adapters.http.body import read_json
from sse_adapters.http.operation import WRITE_PROBLEMS, Answer, Hub, Operation
from sse_adapters.http.parameters import USER_ID
from sse_adapters.http.schemas import Subscribe, Unsubscribe

TAG = "Subscriptions"

_MEMBERSHIP = {"user_id": "user123", "group": "challenge_456", "event_types": ["rank_update"]}

SUBSCRIBE = Operation(
    tag=TAG,
    summary="Subscribe a user to a group",
    description="Messages sent to the group from now on are the user's, online or not; `event_types` narrows that. "
    "Takes effect at once on the user's open streams.",
    body=Subscribe,
    body_examples={
        "some types": _MEMBERSHIP,
        "all types": {"user_id": "user123", "group": "challenge_456"},
    },
    answers={
        HTTPStatus.CREATED: Answer(description="The user is in the group now.", kind=Membership, example=_MEMBERSHIP),
        HTTPStatus.OK: Answer(
            description="The user was in the group; the types are as asked now.", kind=Membership, example=_MEMBERSHIP
        ),
    },
    problems=WRITE_PROBLEMS,
)
UNSUBSCRIBE = Operation(
    tag=TAG,
    summary="Unsubscribe a user from a group",
    description="The group's messages are no longer visible to the user, those from before included.",
    body=Unsubscribe,
    body_examples={"leave": {"user_id": "user123", "group": "challenge_456"}},
    answers={
        HTTPStatus.OK: Answer(
            description="Whether there was a membership.", kind=Unsubscribed, example={"unsubscribed": True}
        )
    },
    problems=WRITE_PROBLEMS,
)
LIST_SUBSCRIPTIONS = Operation(
    tag=TAG,
    summary="List a user's subscriptions",
    description="By group name.",
    parameters=(USER_ID,),
    answers={
        HTTPStatus.OK: Answer(
            description="The memberships.", kind=Memberships, example={"subscriptions": [_MEMBERSHIP]}
        )
    },
)


class SubscriptionsController(Controller):
    @post("/subscribe", opt=SUBSCRIBE.opt)
    async def subscribe(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        SUBSCRIBE.query(request)
        body = await read_json(request, Subscribe)
        subscription, new = await push_service.subscribe(body.user_id, body.group, body.event_types)
        return json_answer(Membership.of(subscription), HTTPStatus.CREATED if new else HTTPStatus.OK)

    @post("/unsubscribe", opt=UNSUBSCRIBE.opt)
    async def unsubscribe(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        UNSUBSCRIBE.query(request)
        body = await read_json(request, Unsubscribe)
        return json_answer(Unsubscribed(unsubscribed=await push_service.unsubscribe(body.user_id, body.group)))

    @get("/subscriptions", opt=LIST_SUBSCRIPTIONS.opt)
    async def list_subscriptions(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        user_id = LIST_SUBSCRIPTIONS.query(request)[USER_ID]
        memberships = [Membership.of(each) for each in await push_service.subscriptions(user_id)]
        return json_answer(Memberships(subscriptions=memberships))
