"""A hub whose Redis can't be reached: what the other nodes know is refused, and all else goes on (ADR 10)."""

from __future__ import annotations

import httpx
import pytest

from sse_app.container import build_container
from sse_app.settings import Settings
from tests.integration.http.serving import serve
from tests.support.http import API_PREFIX, JsonObject
from tests.support.ports import free_port

NOTE: JsonObject = {"user_id": "ada", "event_type": "t", "data": 1}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/online?user_id=ada", None, 503),
        ("GET", "/clients", None, 503),
        ("GET", "/group/team", None, 503),
        ("POST", "/disconnect/phone", None, 503),
        ("POST", "/disconnect", {"user_id": "ada"}, 503),
        ("POST", "/send", NOTE, 201),
        ("POST", "/send", NOTE | {"persist": True}, 201),
        ("GET", "/messages/unread?user_id=ada", None, 200),
        ("POST", "/subscribe", {"user_id": "ada", "group": "team"}, 201),
        ("GET", "/info", None, 200),
    ],
)
async def test_what_needs_the_other_nodes_is_refused(
    method: str, path: str, body: JsonObject | None, status: int
) -> None:
    container = build_container(Settings(database_url="memory://", redis_url=f"redis://127.0.0.1:{free_port()}"))
    async with (
        container.node(),
        serve(container.app()) as url,
        httpx.AsyncClient(timeout=60, trust_env=False) as client,
    ):
        response = await client.request(method, f"{url}{API_PREFIX}{path}", json=body)
    assert response.status_code == status, response.text
    if status == httpx.codes.SERVICE_UNAVAILABLE:
        assert response.json()["code"] == "nodes_unavailable"
        assert int(response.headers["retry-after"]) > 0
    if path == "/info":
        assert response.json()["bus"]["healthy"] is False
