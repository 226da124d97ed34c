"""Whatever is wrong with a request, its answer is a problem that names it (SPEC §2, RFC 9457)."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sse_adapters.http.app import http_app
from sse_app import HubService, Settings, open_hub
from sse_domain.errors import Overloaded
from sse_domain.message import Draft
from tests.integration.http.serving import serve
from tests.support.http import HubApi, open_api

pytestmark = pytest.mark.asyncio(loop_scope="module")
one_for_all = pytest_asyncio.fixture(scope="module", loop_scope="module")

SEND = "/api/v1/sse/send"
JSON = {"Content-Type": "application/json"}
GOOD: dict[str, Any] = {"user_id": "u1", "event_type": "t", "data": 1}


@one_for_all
async def hub() -> AsyncIterator[HubService]:
    """One for all of these tests: what is refused leaves nothing behind."""
    async with open_hub(Settings(database_url="memory://")) as hub:
        yield hub


@one_for_all
async def api(hub: HubService) -> AsyncIterator[HubApi]:
    async with serve(http_app(hub)) as url, open_api(url) as api:
        yield api


def faults(problem: dict[str, Any]) -> set[str]:
    return {error["field"] for error in problem["errors"]}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"user_id": ""}, "invalid_user_id"),
        ({"user_id": "x" * 129}, "invalid_user_id"),
        ({"user_id": "a\nb"}, "invalid_user_id"),
        ({"user_id": "a\n"}, "invalid_user_id"),
        ({"user_id": "a\u0085"}, "invalid_user_id"),
        ({"user_id": 7}, "invalid_user_id"),
        ({"user_id": None}, "invalid_receiver"),
        ({"client_id": "c1"}, "invalid_receiver"),
        ({"event_type": ""}, "invalid_event_type"),
        ({"event_type": "a b"}, "invalid_event_type"),
        ({"event_type": "a\n"}, "invalid_event_type"),
        ({"event_type": "x" * 65}, "invalid_event_type"),
        ({"event_type": "sse.open"}, "invalid_event_type"),
        ({"event_type": None}, "invalid_event_type"),
        ({"persist": 1}, "invalid_persist"),
        ({"persist": "true"}, "invalid_persist"),
        ({"priority": 3}, "invalid_priority"),
        ({"priority": -1}, "invalid_priority"),
        ({"priority": 1.5}, "invalid_priority"),
        ({"priority": True}, "invalid_priority"),
        ({"priority": "HIGH"}, "invalid_priority"),
        ({"ttl": 0}, "invalid_ttl"),
        ({"ttl": -1}, "invalid_ttl"),
        ({"ttl": True}, "invalid_ttl"),
        ({"ttl": "60"}, "invalid_ttl"),
        ({"ttl": 1e12}, "invalid_ttl"),
        ({"event_id": ""}, "invalid_event_id"),
        ({"event_id": "a b"}, "invalid_event_id"),
        ({"event_id": "x" * 65}, "invalid_event_id"),
        ({"group": "g"}, "unknown_field"),
        ({"Persist": True}, "unknown_field"),
        ({"event_type": "", "priority": 9}, "invalid_event_type"),
    ],
    ids=str,
)
async def test_a_wrong_field_is_named(api: HubApi, changes: dict[str, Any], code: str) -> None:
    response = await api.post("/send", GOOD | changes)
    problem = response.json()
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert (problem["type"], problem["title"], problem["status"]) == ("about:blank", "Bad Request", 400)
    assert problem["code"] == code
    assert problem["detail"]
    assert faults(problem) == ({"receiver"} if code == "invalid_receiver" else changes.keys())


async def test_all_wrong_fields_are_told_at_once(api: HubApi) -> None:
    wrong = {"user_id": "", "event_type": 1, "persist": 0, "priority": "x", "ttl": -1, "event_id": [], "extra": 1}
    response = await api.post("/send", wrong)
    assert faults(response.json()) == wrong.keys() | {"data"}


async def test_a_wrong_place_inside_a_field_is_named(api: HubApi) -> None:
    response = await api.post("/subscribe", {"user_id": "u", "group": "g", "event_types": ["a", "", "b"]})
    problem = response.json()
    assert (faults(problem), problem["code"]) == ({"event_types[1]"}, "invalid_event_types")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xef\xbb\xbf{}",
        b'{"user_id":"u","event_type":"t","data":1} x',
        b'{"user_id":"u","event_type":"t","data":01}',
        b'{"user_id":"u","event_type":"t","data":1.}',
        b'{"user_id":"u","event_type":"t","data":NaN}',
        b'{"user_id":"u","event_type":"t","data":Infinity}',
        b'{"user_id":"u","event_type":"t","data":[1,]}',
        b'{"user_id":"u","event_type":"t","data":"\xff"}',
        b'{"user_id":"u","event_type":"t","data":"\xed\xa0\x80"}',
        b'{"user_id":"u","event_type":"t","data":"a\nb"}',
        b'{"user_id":"u","event_type":"t","data":"\\x"}',
        b'{"user_id":"\\ud800","event_type":"t","data":1}',
        b'{"user_id":"u","event_type":"t","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        json.dumps(GOOD).encode("utf-16"),
    ],
)
async def test_what_is_not_json_is_refused(api: HubApi, body: bytes) -> None:
    for path in (SEND, "/api/v1/sse/messages/read", "/api/v1/sse/send/batch", "/api/v1/sse/disconnect/c"):
        response = await api.client.post(path, content=body, headers=JSON)
        if path.endswith("/c") and not body:
            continue  # a body is optional there
        assert response.status_code == 400, (path, response.text)
        assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json; charset=latin-1"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": 'Application/JSON; Charset="UTF-8"'}, 201),
    ],
    ids=str,
)
async def test_only_plain_json_is_taken(api: HubApi, headers: dict[str, str], status: int) -> None:
    response = await api.client.post(SEND, content=json.dumps(GOOD).encode(), headers=headers)
    assert response.status_code == status


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_bodies_have_a_limit_announced_or_not(api: HubApi) -> None:
    whole = json.dumps(GOOD).encode()
    exactly = whole + b" " * (1024 * 1024 - len(whole))
    assert (await api.client.post(SEND, content=exactly, headers=JSON)).status_code == 201
    announced = await api.client.post(SEND, content=exactly + b" ", headers=JSON)
    chunked = await api.client.post(SEND, content=_pieces(exactly, b" "), headers=JSON)
    for response in (announced, chunked):
        assert response.status_code == 413
        assert response.json()["code"] == "body_too_large"
    batch = b'{"messages":[]}'
    exactly = batch + b" " * (16 * 1024 * 1024 - len(batch))
    assert (await api.client.post(f"{SEND}/batch", content=exactly, headers=JSON)).status_code == 200
    assert (await api.client.post(f"{SEND}/batch", content=exactly + b" ", headers=JSON)).status_code == 413


async def test_data_has_a_limit(api: HubApi) -> None:
    assert (await api.post("/send", GOOD | {"data": "x" * (256 * 1024 - 2)})).status_code == 201
    refused = await api.post("/send", GOOD | {"data": "x" * (256 * 1024 - 1)})
    assert (refused.status_code, refused.json()["code"]) == (413, "data_too_large")


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/messages", "invalid_user_id"),
        ("/messages?user_id=", "invalid_user_id"),
        ("/messages?user_id=u&user_id=v", "invalid_user_id"),
        ("/messages?user_id=u&status=new", "invalid_status"),
        ("/messages?user_id=u&event_type=a%20b", "invalid_event_type"),
        ("/messages?user_id=u&priority=3", "invalid_priority"),
        ("/messages?user_id=u&priority=", "invalid_priority"),
        ("/messages?user_id=u&limit=0", "invalid_limit"),
        ("/messages?user_id=u&limit=1001", "invalid_limit"),
        ("/messages?user_id=u&limit=1e2", "invalid_limit"),
        ("/messages?user_id=u&limit=%D9%A1", "invalid_limit"),
        ("/messages?user_id=u&order=up", "invalid_order"),
        ("/messages?user_id=u&since=nan", "invalid_since"),
        ("/messages?user_id=u&since=9999-12-31T23:59:59-23:59", "invalid_since"),
        ("/messages?user_id=u&since=-1", "invalid_since"),
        ("/messages?user_id=u&after=", "invalid_after"),
        ("/messages?user_id=u&token=secret-token", "unknown_parameter"),
        ("/messages/unread", "invalid_user_id"),
        ("/messages/pending?user_id=u&status=read", "unknown_parameter"),
        ("/subscriptions?user_id=%FF", "invalid_query"),
        ("/online", "invalid_user_id"),
        ("/clients?limit=-1", "invalid_limit"),
        ("/info?verbose=1", "unknown_parameter"),
        (f"/group/{'x' * 129}", "invalid_group"),
        ("/group/a%0Ab", "invalid_group"),
        ("/group/%FF", "invalid_path"),
    ],
)
async def test_a_wrong_parameter_is_named_and_its_value_is_not_repeated(api: HubApi, target: str, code: str) -> None:
    response = await api.client.get(f"/api/v1/sse{target}")
    assert (response.status_code, response.json()["code"]) == (400, code)
    assert "secret-token" not in response.text


async def test_post_calls_take_no_parameters(api: HubApi) -> None:
    response = await api.client.post(f"{SEND}?user_id=u1", json=GOOD)
    assert (response.status_code, response.json()["code"]) == (400, "unknown_parameter")


@pytest.mark.parametrize(
    "selection",
    [{}, {"all": False}, {"all": True, "up_to": "x"}, {"event_ids": None}, {"event_ids": [], "all": True}],
    ids=str,
)
async def test_marking_takes_exactly_one_selection(api: HubApi, selection: dict[str, Any]) -> None:
    response = await api.post("/messages/read", {"user_id": "u1"} | selection)
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/api/v1/sse/send", 405),
        ("DELETE", "/api/v1/sse/messages", 405),
        ("PUT", "/api/v1/sse/group/g", 405),
        ("GET", "/api/v1/sse/nothing", 404),
        ("GET", "/api/v1/sse/group/a/b", 404),
        ("GET", "/api/v1/sse/group/a/", 404),
        ("POST", "/api/v1/sse/disconnect/a/b", 404),
        ("GET", "/", 404),
        ("GET", "/demo/../etc/passwd", 404),
        ("GET", "/schema/nothing.js", 404),
    ],
)
async def test_unknown_paths_and_methods(api: HubApi, method: str, target: str, status: int) -> None:
    response = await api.client.request(method, target)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == {404: "not_found", 405: "method_not_allowed"}[status]
    assert ("allow" in response.headers) == (status == 405)


@pytest.mark.parametrize("path", ["/send", "/send/group", "/broadcast", "/send/batch", "/subscribe"])
async def test_a_call_tells_its_methods(api: HubApi, path: str) -> None:
    response = await api.client.options(f"/api/v1/sse{path}")
    assert (response.status_code, response.headers["allow"], response.content) == (204, "OPTIONS, POST", b"")


async def test_unavailable_says_when_to_come_back(
    api: HubApi, hub: HubService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overloaded(draft: Draft) -> None:
        raise Overloaded("too much is waiting", retry_after=7)

    monkeypatch.setattr(hub, "send", overloaded)
    response = await api.post("/send", GOOD)
    assert (response.status_code, response.json()["code"]) == (503, "overloaded")
    assert response.headers["retry-after"] == "7"


async def test_an_unforeseen_error_is_logged_and_tells_nothing(
    api: HubApi, hub: HubService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(user_id: str) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(hub, "unread", broken)
    with caplog.at_level(logging.ERROR, "sse_hub.http"):
        response = await api.get("/messages/unread", user_id="private-user")
    assert response.status_code == 500
    assert response.json()["code"] == "internal_error"
    assert "secret" not in response.text
    [record] = caplog.records
    assert record.exc_info is not None
    assert "private-user" not in record.getMessage()
