"""What a reader sees of a stream over HTTP (SPEC §2 Streams): its requests, its head, its frames."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from urllib.parse import quote

import pytest

from tests.integration.service.reading import is_application, is_heartbeat, numbers, opened, owed, seq_of, up_to_now
from tests.support.event_stream import open_stream
from tests.support.http import API_PREFIX, HubApi
from tests.support.server_process import ServerProcess

STREAM = f"{API_PREFIX}/stream"


@pytest.fixture
def server(shared_server: ServerProcess) -> ServerProcess:
    return shared_server


async def test_the_head_and_the_first_frames(server: ServerProcess) -> None:
    async with open_stream(server.base_url, params={"id": "first", "group": ["b", "a"]}) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-cache, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in stream.headers
        told = await opened(stream)
        retry, priming, open_frame = stream.frames[:3]
        assert (retry.retry, retry.id, retry.data) == (2000, None, None)
        assert (priming.data, priming.retry, priming.comment) == (None, None, None)
        assert re.fullmatch(r"[0-9]+[._-][0-9A-Za-z._-]+", priming.id or "")
        assert open_frame.id is None
        assert told.keys() == {
            "connection_id", "client_id", "user_id", "groups", "resumed", "complete", "unread", "heartbeat_seconds",
        }  # fmt: skip
        assert (told["client_id"], told["user_id"], told["groups"]) == ("first", None, ["a", "b"])
        assert (told["resumed"], told["complete"], told["unread"]) == (False, True, None)
        assert told["heartbeat_seconds"] == 0.2
        beat = await stream.until(is_heartbeat)
        assert (beat.dispatched, beat.event) == (False, "message")


async def test_head_gives_the_headers_of_get_and_other_methods_are_refused(server: ServerProcess) -> None:
    async with open_stream(server.base_url) as get, open_stream(server.base_url, method="HEAD") as head:
        assert await head.body() == b""
        assert (head.status, head.headers["content-type"]) == (200, get.headers["content-type"])
        assert head.headers["cache-control"] == get.headers["cache-control"]
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        async with open_stream(server.base_url, method=method) as refused:
            assert refused.status == 405, method
            assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD"}
            assert (await refused.json())["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("user", "group"),
    [("ana", "team"), ("ana/boss", "team/a b"), ("Zoë", "日本語"), ("a+b&c=d%2F", "x?y#z"), (" ", "😀")],
)
async def test_all_three_forms_take_any_identifier(server: ServerProcess, api: HubApi, user: str, group: str) -> None:
    encoded_user, encoded_group = quote(user, safe=""), quote(group, safe="")
    forms: list[tuple[str, dict[str, str | list[str]]]] = [
        (STREAM, {"user_id": user, "group": [group]}),
        (f"{STREAM}/{encoded_user}", {"group": [group]}),
        (f"{STREAM}/{encoded_group}/{encoded_user}", {"replay": "none"}),
    ]
    async with AsyncExitStack() as stack:
        streams = []
        for path, params in forms:
            stream = await stack.enter_async_context(open_stream(server.base_url, path, params=params))
            told = await opened(stream)
            assert (told["user_id"], told["groups"]) == (user, [group])
            streams.append(stream)
        assert (await api.send("note", {"n": 1}, user_id=user))["connections"] == 3
        assert (await api.send_to_group(group, "note", {"n": 2}))["connections"] == 3
        for stream in streams:
            assert [(await stream.until(is_application)).json["n"] for _ in range(2)] == [1, 2]
        told_group = (await api.get(f"/group/{encoded_group}")).json()
        assert (told_group["users"], len(told_group["clients"])) == ([user], 3)


async def test_a_path_of_more_segments_or_none_is_not_found(server: ServerProcess) -> None:
    for path, status in (
        (f"{STREAM}/a/b/c", 404),
        (f"{STREAM}//b", 400),
        (f"{STREAM}/%FF", 400),
        (f"{STREAM}/%00", 400),
    ):
        async with open_stream(server.base_url, path) as stream:
            assert stream.status == status, path
            assert stream.headers["content-type"] == "application/problem+json"
            assert (await stream.json())["status"] == status


async def test_control_events_carry_no_id_and_ids_keep_their_form(server: ServerProcess, api: HubApi) -> None:
    async with open_stream(server.base_url, params={"user_id": "form", "unread": "1"}, last_event_id="none") as stream:
        await opened(stream)
        batch = [
            {"to": {"user_id": "form"}, "event_type": "note", "data": {"n": n}, "persist": True, "priority": n % 3}
            for n in range(30)
        ]
        seqs = {n: result["seq"] for n, result in enumerate(await api.send_batch(batch))}
        await stream.until(lambda frame: frame.event == "sse.unread" and frame.json["total"] >= 30)
        await stream.until(is_heartbeat)
    for frame in stream.frames:
        if frame.event.startswith("sse."):
            assert frame.id is None
        if frame.id is not None:
            assert re.fullmatch(r"[0-9A-Za-z._-]{1,64}", frame.id)
            assert not frame.id[len(str(seq_of(frame.id)))].isdigit()
        if frame.event == "note":
            assert seq_of(frame.id or "") == seqs[frame.json["n"]]
            assert frame.id == frame.last_event_id
    assert {frame.event for frame in stream.frames} >= {"sse.open", "sse.reset", "sse.unread", "note"}


async def test_ephemeral_messages_have_no_id_and_are_never_seen_again(server: ServerProcess, api: HubApi) -> None:
    params = {"user_id": "eph", "id": "eph-phone"}
    async with open_stream(server.base_url, params=params) as stream:
        await opened(stream)
        answer = await api.send("note", {"n": 1}, user_id="eph", event_id="once")
        assert (answer["seq"], answer["persisted"], answer["connections"]) == (None, False, 1)
        frame = await stream.until(is_application)
        assert (frame.id, frame.json) == (None, {"n": 1})
        again = await api.post("/send", {"event_type": "note", "data": {"n": 1}, "user_id": "eph", "event_id": "once"})
        assert (again.status_code, again.json()["connections"]) == (200, 0)
        assert await up_to_now(api, stream, "eph-phone") == []
    assert (await api.send("note", {"n": 2}, user_id="eph"))["connections"] in (0, 1)  # it may not be gone yet
    assert (await api.messages("eph", event_type="note"))["messages"] == []
    assert (await api.unread("eph"))["by_event_type"].get("note") is None
    async with open_stream(server.base_url, params=params, last_event_id=frame.last_event_id) as stream:
        assert numbers(await owed(api, stream)) == []


async def test_a_filtered_stream_gets_only_its_types(server: ServerProcess, api: HubApi) -> None:
    types = {"event_types": "wanted,test.marker"}
    for persist in (True, False):
        async with open_stream(
            server.base_url, params={"user_id": "filter", "id": "f", "replay": "none"} | types
        ) as stream:
            await opened(stream)
            for n, event_type in enumerate(("wanted", "other", "Wanted", "wanted")):
                await api.send(event_type, {"n": n}, user_id="filter", persist=persist)
            assert numbers(await up_to_now(api, stream, "f")) == [0, 3]


@pytest.mark.parametrize(
    "spelled",
    [
        '{"b":1.0,"a":1e400,"n":10000000000000000000000001}',
        '"\\u0000\\ud83d\\ude00é\u2028"',
        "[-0.0, 1E+2,\t0.10]",
        "null",
        '{"a":1,"a":2}',
        '{"multi":\n"line"}',
    ],
)
async def test_data_is_given_back_as_it_was_written(server: ServerProcess, api: HubApi, spelled: str) -> None:
    async with open_stream(server.base_url, params={"user_id": "spelling", "replay": "none"}) as stream:
        await opened(stream)
        body = f'{{"user_id": "spelling", "event_type": "spelled", "persist": true, "data": {spelled}}}'.encode()
        headers = {"content-type": "application/json"}
        sent = await api.client.post(f"{API_PREFIX}/send", content=body, headers=headers)
        assert sent.status_code == 201, sent.text
        assert (await stream.until(is_application)).data == spelled
        answer = await api.get("/messages", user_id="spelling", order="desc", limit=1)
        assert f'"data":{spelled}'.encode() in answer.content.replace(b'"data": ', b'"data":')
