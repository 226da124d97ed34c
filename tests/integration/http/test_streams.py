"""Streams over a real socket (SPEC §2, Streams)."""

from __future__ import annotations

import pytest

from sse_app import HubService
from tests.support.event_stream import open_stream
from tests.support.http import HubApi

PATH = "/api/v1/sse/stream"


async def test_a_stream_begins_as_promised(base_url: str) -> None:
    async with open_stream(base_url, params={"id": "c1", "user_id": "u1", "group": ["a", "b"]}) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-cache, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in stream.headers
        opened = await stream.next()
        retry, priming, sse_open = stream.frames
        assert (retry.retry, retry.id, retry.data) == (2000, None, None)
        assert priming.id
        assert (priming.data, priming.retry) == (None, None)
        assert opened is sse_open
        assert (opened.event, opened.id) == ("sse.open", None)
        assert opened.json["client_id"] == "c1"
        assert opened.json["user_id"] == "u1"
        assert opened.json["groups"] == ["a", "b"]
        assert opened.json["resumed"] is False
        assert opened.json["complete"] is True
        assert opened.json["unread"]["by_priority"] == {"normal": 0, "high": 0, "urgent": 0}


@pytest.mark.parametrize(
    ("path", "user_id", "groups"),
    [
        (f"{PATH}?user_id=u1&group=g1", "u1", ["g1"]),
        (f"{PATH}/g1/u1", "u1", ["g1"]),
        (f"{PATH}/g1/u1?group=g2&group=g1", "u1", ["g1", "g2"]),
        (f"{PATH}/u1?group=g1", "u1", ["g1"]),
        (f"{PATH}/u1", "u1", []),
        (PATH, None, []),
        (f"{PATH}/a%2Fb/c%2F%2Fd%20", "c//d ", ["a/b"]),
        (f"{PATH}/a%2Fb", "a/b", []),
        (f"{PATH}/%C3%BC?group=%F0%9F%98%80+%2B", "ü", ["😀 +"]),
    ],
)
async def test_the_three_url_forms(base_url: str, path: str, user_id: str | None, groups: list[str]) -> None:
    async with open_stream(base_url, path) as stream:
        opened = (await stream.next()).json
        assert opened["user_id"] == user_id
        assert opened["groups"] == groups
        assert opened["client_id"]


async def test_messages_come_as_their_publisher_wrote_them(base_url: str, api: HubApi) -> None:
    data = '{ "b" : 1.0E+2,\r\n"a":\t"\\u0000\\u00e9é",\n\n"n":-0.0, "big":12345678901234567890 }'
    body = b'{"user_id":"u1","event_type":"raw","persist":true,"data":' + data.encode() + b"}"
    async with open_stream(base_url, f"{PATH}/u1") as stream:
        await stream.next()
        response = await api.client.post("/api/v1/sse/send", content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 201
        frame = await stream.next()
        assert frame.event == "raw"
        assert frame.data == data.replace("\r\n", "\n")
        assert frame.id is not None
        assert frame.id.split("-")[0] == str(response.json()["seq"])
    listed = (await api.get("/messages", user_id="u1")).content
    assert data.encode() in listed


async def test_an_ephemeral_message_has_no_id(base_url: str, api: HubApi) -> None:
    async with open_stream(base_url, f"{PATH}/u1") as stream:
        await stream.next()
        receipt = await api.send("note", 1, user_id="u1")
        assert receipt["connections"] == 1
        assert receipt["seq"] is None
        frame = await stream.next()
        assert (frame.data, frame.id) == ("1", None)


async def test_a_stream_resumes_by_header_or_parameter_and_the_header_wins(base_url: str, api: HubApi) -> None:
    for number in range(3):
        await api.send("n", number, user_id="u1", persist=True)
    async with open_stream(base_url, f"{PATH}/u1") as stream:
        await stream.next()
        frames = [await stream.next() for _ in range(3)]
    assert [frame.json for frame in frames] == [0, 1, 2]
    first, last = frames[0].id, frames[2].id
    assert first is not None
    assert last is not None
    for params, header in (({}, first), ({"last_event_id": first}, None), ({"last_event_id": last}, first)):
        async with open_stream(base_url, f"{PATH}/u1", params=params, last_event_id=header) as stream:
            assert (await stream.next()).json["resumed"] is True
            assert [(await stream.next()).json for _ in range(2)] == [1, 2]
    async with open_stream(base_url, f"{PATH}/u1", params={"last_event_id": first}, last_event_id="") as stream:
        assert (await stream.next()).json["resumed"] is True


@pytest.mark.parametrize("cursor", ["nonsense", "1-otherlog", "\xff\xfe", "9" * 5000])
async def test_a_cursor_that_means_nothing_is_told_and_never_refused(base_url: str, cursor: str) -> None:
    async with open_stream(base_url, f"{PATH}/u1", headers={"Last-Event-ID": cursor}) as stream:
        assert stream.status == 200
        assert (await stream.next()).event == "sse.open"
        assert (await stream.next()).event == "sse.reset"


async def test_since_accepts_both_spellings_and_an_unencoded_plus(base_url: str, api: HubApi) -> None:
    await api.send("n", 1, user_id="u1", persist=True)
    for since in ("2020-01-01T00:00:00Z", "2020-01-01T02:00:00+02:00", "1577836800", "1577836800.5"):
        async with open_stream(base_url, f"{PATH}/u1?since={since}") as stream:
            assert (await stream.next()).event == "sse.open"
            assert (await stream.next()).json == 1


async def test_head_gives_the_headers_only(base_url: str, hub: HubService) -> None:
    async with open_stream(base_url, f"{PATH}/u1", method="HEAD") as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert await stream.body() == b""
        assert await hub.clients(None, 10) == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_refused(base_url: str, method: str) -> None:
    async with open_stream(base_url, method=method) as stream:
        assert stream.status == 405
        assert set(stream.headers["allow"].split(", ")) == {"GET", "HEAD"}
        assert (await stream.json())["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (f"{PATH}?user_id=", "invalid_user_id"),
        (f"{PATH}?id=%00", "invalid_id"),
        (f"{PATH}?id={'x' * 129}", "invalid_id"),
        (f"{PATH}?user_id=%FF", "invalid_query"),
        (f"{PATH}?group=a%0Ab", "invalid_group"),
        (f"{PATH}?{'&'.join(f'group=g{n}' for n in range(51))}", "invalid_group"),
        (f"{PATH}?since=yesterday", "invalid_since"),
        (f"{PATH}?since=2024-01-01T00:00:00", "invalid_since"),
        (f"{PATH}?replay=all", "invalid_replay"),
        (f"{PATH}?event_types=", "invalid_event_types"),
        (f"{PATH}?event_types=a,sse.open", "invalid_event_types"),
        (f"{PATH}?unread=yes", "invalid_unread"),
        (f"{PATH}?user_id=a&user_id=b", "invalid_user_id"),
        (f"{PATH}?userid=a", "unknown_parameter"),
        (f"{PATH}/u1?user_id=u2", "unknown_parameter"),
        (f"{PATH}/", "invalid_user_id"),
        (f"{PATH}/g1/", "invalid_user_id"),
        (f"{PATH}//u1", "invalid_group"),
        (f"{PATH}/%FF", "invalid_path"),
        (f"{PATH}/{'x' * 129}", "invalid_user_id"),
    ],
)
async def test_bad_requests_are_refused_before_the_stream_begins(base_url: str, target: str, code: str) -> None:
    async with open_stream(base_url, target) as stream:
        assert stream.status == 400
        assert stream.headers["content-type"] == "application/problem+json"
        problem = await stream.json()
        assert problem["code"] == code
        assert problem["status"] == 400


@pytest.mark.parametrize("target", [f"{PATH}/a/b/c", f"{PATH}x", f"{PATH}{'/a' * 2000}", "/stream"])
async def test_there_is_nothing_elsewhere(base_url: str, target: str) -> None:
    async with open_stream(base_url, target) as stream:
        assert stream.status in (400, 404)
        assert (await stream.json())["code"] in ("not_found", "invalid_path")


async def test_a_disconnected_client_is_told_and_then_turned_away(base_url: str, api: HubApi) -> None:
    async with open_stream(base_url, params={"id": "tab/1"}) as stream:
        await stream.next()
        assert await api.disconnect("tab/1") == {"disconnected": 1}
        closed = await stream.next()
        assert (closed.event, closed.id) == ("sse.close", None)
        assert closed.json == {"reason": "disconnected", "reconnect": False}
        assert await stream.rest() == []
        assert stream.clean
    async with open_stream(base_url, params={"id": "tab/1"}) as stream:
        assert stream.status == 204
        assert await stream.body() == b""
    async with open_stream(base_url, params={"id": "tab/2"}) as stream:
        assert stream.status == 200


async def test_a_disconnect_may_let_the_client_return(base_url: str, api: HubApi) -> None:
    async with open_stream(base_url, params={"id": "tab"}) as stream:
        await stream.next()
        await api.disconnect("tab", reconnect=True)
        assert (await stream.next()).json["reconnect"] is True
    async with open_stream(base_url, params={"id": "tab"}) as stream:
        assert stream.status == 200


async def test_a_hub_that_takes_no_streams_says_so_on_the_stream(base_url: str, hub: HubService) -> None:
    hub.draining = True
    async with open_stream(base_url) as stream:
        assert stream.status == 200
        frames = await stream.rest()
        assert stream.clean
        assert [frame.event for frame in frames if frame.dispatched] == ["sse.close"]
        assert frames[-1].json == {"reason": "shutting_down", "reconnect": True}
        assert frames[-1].retry is not None
        assert frames[-1].retry >= 2000
