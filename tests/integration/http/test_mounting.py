"""The router inside another application, wherever that puts it (SPEC §8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from litestar import Litestar, Router, get
from litestar.config.compression import CompressionConfig
from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send
from starlette.applications import Starlette
from starlette.routing import Mount

from sse_adapters.http.app import http_app
from sse_adapters.http.options import HttpOptions
from sse_adapters.http.router import hub_router
from sse_app import HubService
from tests.integration.http.serving import serve
from tests.support.event_stream import open_stream


@get("/hello", sync_to_thread=False)
def hello() -> str:
    return "hello"


@pytest.fixture(params=["litestar", "litestar below a path", "litestar that compresses", "starlette"])
async def prefix_url(request: pytest.FixtureRequest, hub: HubService) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        app: Any
        match request.param:
            case "litestar":
                app, prefix = (
                    Litestar([hello, hub_router(hub, HttpOptions(prefix="/stream"))], logging_config=None),
                    "/stream",
                )
            case "litestar below a path":
                app = Litestar([hello, Router("/a/b", route_handlers=[hub_router(hub)])], logging_config=None)
                prefix = "/a/b/api/v1/sse"
            case "litestar that compresses":
                compression = CompressionConfig("gzip", minimum_size=1, exclude=["/api/v1/sse/stream"])
                app = Litestar([hello, hub_router(hub)], compression_config=compression, logging_config=None)
                prefix = "/api/v1/sse"
            case _:
                whole_hub: Any = http_app(hub)
                app, prefix = Starlette(routes=[Mount("/hub", app=whole_hub)]), "/hub/api/v1/sse"
        yield await stack.enter_async_context(serve(app)) + prefix


async def test_calls_and_streams_work_wherever_the_router_is(prefix_url: str) -> None:
    url = httpx.URL(prefix_url)
    base_url, prefix = f"http://{url.netloc.decode()}", url.path
    params = {"group": "g/2", "event_types": "t"}
    gzip = {"Accept-Encoding": "gzip"}
    async with (
        httpx.AsyncClient(timeout=60, trust_env=False) as client,
        open_stream(base_url, f"{prefix}/stream/g%2F1/u%2F1", params=params, headers=gzip) as stream,
        open_stream(base_url, f"{prefix}/stream", params={"id": "c1"}) as by_query,
    ):
        opened = (await stream.next()).json
        assert (opened["user_id"], opened["groups"]) == ("u/1", ["g/1", "g/2"])
        assert (await by_query.next()).json["client_id"] == "c1"
        assert (await client.post(f"{url}/send", json={"user_id": "u/1", "event_type": "t", "data": 1})).is_success
        assert (await stream.next()).json == 1
        group = await client.get(f"{url}/group/g%2F1")
        assert group.json()["users"] == ["u/1"]
        refused = await client.get(f"{url}/messages")
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_user_id")
        async with open_stream(base_url, f"{prefix}/streams") as nothing:
            assert nothing.status == 404


async def test_a_surrounding_applications_guards_and_middleware_see_every_kind_of_call(hub: HubService) -> None:
    seen: list[str] = []

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        seen.append("guard")
        raise PermissionDeniedException

    def middleware(app: ASGIApp) -> ASGIApp:
        async def watching(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append("middleware")
            await app(scope, receive, send)

        return watching

    app = Litestar([hub_router(hub)], guards=[guard], middleware=[middleware], logging_config=None)
    async with (
        serve(app) as url,
        httpx.AsyncClient(base_url=f"{url}/api/v1/sse", timeout=60, trust_env=False) as client,
    ):
        for method, path in (("POST", "send"), ("POST", "send/batch"), ("GET", "stream"), ("GET", "info")):
            seen.clear()
            assert (await client.request(method, path)).status_code == 403
            assert seen == ["middleware", "guard"]
