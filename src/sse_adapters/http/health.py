"""What a supervisor or a load balancer asks (SPEC §2): is the process alive, and does it take work.

Many that watch a service ask by HEAD: they want the status alone. The server leaves the body out.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from litestar import HttpMethod, Request, Response, Router, route

from sse_adapters.http.answers import Health, json_answer
from sse_adapters.http.operation import Answer, Operation
from sse_domain.api import PushService

TAG = "Health"
METHODS = (HttpMethod.GET, HttpMethod.HEAD)

LIVE = Operation(
    tag=TAG,
    summary="Is the process alive",
    description="Asks nothing of the store. HEAD gives the headers only.",
    answers={HTTPStatus.OK: Answer(description="It is.", kind=Health, example={"status": "ok"})},
    problems=(HTTPStatus.BAD_REQUEST,),
)
READY = Operation(
    tag=TAG,
    summary="Does the node take work",
    description="Not while it drains, nor while its store does not answer. HEAD gives the headers only.",
    answers={
        HTTPStatus.OK: Answer(description="It does.", kind=Health, example={"status": "ok"}),
        HTTPStatus.SERVICE_UNAVAILABLE: Answer(
            description="It does not.", kind=Health, example={"status": "unavailable"}
        ),
    },
    problems=(HTTPStatus.BAD_REQUEST,),
)


def health_router(service: PushService) -> Router:
    """`/health/live` and `/health/ready`."""

    @route("/live", http_method=METHODS, opt=LIVE.opt)
    async def live(request: Request[Any, Any, Any]) -> Response[bytes]:
        LIVE.query(request)
        return json_answer(Health(status="ok"))

    @route("/ready", http_method=METHODS, opt=READY.opt)
    async def ready(request: Request[Any, Any, Any]) -> Response[bytes]:
        READY.query(request)
        if await service.ready():
            return json_answer(Health(status="ok"))
        return json_answer(Health(status="unavailable"), HTTPStatus.SERVICE_UNAVAILABLE)

    return Router("/health", route_handlers=[live, ready], include_in_schema=False)
