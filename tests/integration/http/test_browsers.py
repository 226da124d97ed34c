"""What browsers ask for besides the API: pages that need no internet, and leave to call from another origin."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from sse_adapters.http.app import http_app
from sse_adapters.http.options import HttpOptions
from sse_app import HubService
from tests.integration.http.serving import serve
from tests.support.event_stream import open_stream

ORIGIN = "https://app.example"
PREFIX = "/push/v2"


@pytest.fixture
async def client(hub: HubService) -> AsyncIterator[httpx.AsyncClient]:
    options = HttpOptions(prefix=PREFIX, cors_origins=(ORIGIN, "http://localhost:3000"), retry_ms=50)
    async with (
        serve(http_app(hub, options)) as base_url,
        httpx.AsyncClient(base_url=base_url, trust_env=False) as client,
    ):
        yield client


@pytest.mark.parametrize("path", ["/demo", "/schema"])
async def test_a_page_loads_only_what_is_served_here(client: httpx.AsyncClient, path: str) -> None:
    page = await client.get(path, headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    loaded = [link for link in links if not link.startswith(("data:", "#"))]
    assert loaded
    for link in loaded:
        asset = await client.get(httpx.URL(str(page.url)).join(link))
        assert asset.status_code == 200, link
        assert asset.headers.get("x-content-type-options") == "nosniff" or "." not in link or link.endswith(".json")
    for script in re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    redirected = await client.get(f"{path}/", headers={"Accept": "text/html"}, follow_redirects=True)
    assert redirected.url.path == path


async def test_the_test_page_knows_the_prefix(client: httpx.AsyncClient) -> None:
    page = await client.get("/demo")
    assert f'content="{PREFIX}"' in page.text
    assert "__SSE_PREFIX__" not in page.text


async def test_below_a_path_the_pages_find_the_api_there(hub: HubService) -> None:
    whole_hub: Any = http_app(hub)
    below: Any = Starlette(routes=[Mount("/hub", app=whole_hub)])
    async with serve(below) as base_url, httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        document = (await client.get("/hub/schema/openapi.json")).json()
        assert document["servers"] == [{"url": "/hub"}]
        assert 'content="/hub/api/v1/sse"' in (await client.get("/hub/demo")).text


async def test_the_document_is_served_to_programs(client: httpx.AsyncClient) -> None:
    by_accept, by_path = await client.get("/schema"), await client.get("/schema/openapi.json")
    assert by_accept.headers["content-type"] == "application/json"
    assert by_accept.json() == by_path.json()
    assert f"{PREFIX}/send" in by_path.json()["paths"]


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:3000"])
async def test_a_listed_origin_may_call(client: httpx.AsyncClient, origin: str) -> None:
    preflight = await client.options(
        f"{PREFIX}/stream",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "last-event-id, content-type",
        },
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == origin
    answers = [
        await client.get(f"{PREFIX}/info", headers={"Origin": origin}),
        await client.get(f"{PREFIX}/messages", headers={"Origin": origin}),
        await client.get("/nothing", headers={"Origin": origin}),
    ]
    assert [answer.status_code for answer in answers] == [200, 400, 404]
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {origin}
    async with open_stream(str(client.base_url), f"{PREFIX}/stream", headers={"Origin": origin}) as stream:
        assert stream.headers["access-control-allow-origin"] == origin
        assert (await stream.next()).event == "sse.open"
        assert stream.frames[0].retry == 50


@pytest.mark.parametrize(
    "origin",
    ["https://app.example.evil", "https://evil-app.example", "http://app.example", "https://app-example", "null"],
)
async def test_no_other_origin_may(client: httpx.AsyncClient, origin: str) -> None:
    preflight = await client.options(
        f"{PREFIX}/send", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
    )
    answer = await client.get(f"{PREFIX}/info", headers={"Origin": origin})
    assert "access-control-allow-origin" not in {*preflight.headers, *answer.headers}
    async with open_stream(str(client.base_url), f"{PREFIX}/stream", headers={"Origin": origin}) as stream:
        assert "access-control-allow-origin" not in stream.headers


async def test_by_default_no_origin_may(base_url: str) -> None:
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        answer = await client.get("/api/v1/sse/info", headers={"Origin": ORIGIN})
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origin", ["*", "https://app.example/", "https://*.example", "app.example", "HTTPS://A.b", ""])
def test_only_exact_origins_can_be_listed(origin: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        HttpOptions(cors_origins=(origin,))


@pytest.mark.parametrize("prefix", ["", "/", "api", "/api/", "/a//b", "/{x}", "/a b"])
def test_only_a_plain_path_can_be_the_prefix(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        HttpOptions(prefix=prefix)
