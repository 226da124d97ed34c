"""What a reader sees of the delivery contract (SPEC §2 Streams, §3), on one server that many users share."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.integration.service.reading import is_application, is_heartbeat, numbers, opened, owed, seq_of, up_to_now
from tests.support.event_stream import EventStream, open_stream
from tests.support.http import API_PREFIX, HubApi
from tests.support.server_process import ServerProcess, run_server

STREAM = f"{API_PREFIX}/stream"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    directory = tmp_path_factory.mktemp("server")
    async with run_server(directory, {"SSE_HEARTBEAT_SECONDS": "0.2"}) as server:
        yield server


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
    ("user", "group"), [("ana", "team"), ("ana/boss", "team/a b"), ("Zoë", "日本語"), ("a+b&c=d%2F", "x?y#z"), (" ", "😀")]
)
async def test_all_three_forms_take_any_identifier(server: ServerProcess, api: HubApi, user: str, group: str) -> None:
    encoded_user, encoded_group = quote(user, safe=""), quote(group, safe="")
    forms = [
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
    for path, status in ((f"{STREAM}/a/b/c", 404), (f"{STREAM}//b", 400), (f"{STREAM}/%FF", 400), (f"{STREAM}/%00", 400)):
        async with open_stream(server.base_url, path) as stream:
            assert stream.status == status, path
            assert stream.headers["content-type"] == "application/problem+json"
            assert (await stream.json())["status"] == status


async def test_a_stream_gets_its_own_messages_and_no_other_whatever_cursor_it_sends(
    server: ServerProcess, api: HubApi
) -> None:
    start = (await api.info())["storage"]
    for n, (to, hers) in enumerate(AUDIENCES):
        await api.send_batch([{"to": to, "event_type": "note", "data": {"n": n}, "persist": True}])
        assert hers in (True, False)
    expected = [n for n, (_, hers) in enumerate(AUDIENCES) if hers]
    params = {"user_id": "iso", "id": "iso-phone", "group": "iso-group"}
    for seq in (start["last_seq"], 0):
        cursor = f"{seq}-{start['epoch']}"
        async with open_stream(server.base_url, params=params, last_event_id=cursor) as stream:
            given = await owed(api, stream)
            assert numbers(frame for frame in given if seq_of(frame.id or "") > start["last_seq"]) == expected
            for to, hers in AUDIENCES:
                [answer] = await api.send_batch([{"to": to, "event_type": "note", "data": {"n": 0}}])
                assert (answer["connections"], answer["seq"]) == (int(hers), None)
            assert len(await up_to_now(api, stream, "iso-phone")) == len(expected)


# Receivers, and whether they are user `iso` on client `iso-phone` with `?group=iso-group`.
AUDIENCES: list[tuple[dict[str, object], bool]] = [
    ({"user_id": "iso"}, True),
    ({"user_id": "Iso"}, False),
    ({"user_id": "iso "}, False),
    ({"user_id": "iso-phone"}, False),
    ({"client_id": "iso-phone"}, True),
    ({"client_id": "iso"}, False),
    ({"group": "iso-group"}, True),
    ({"group": "ISO-GROUP"}, False),
    ({"group": "iso"}, False),
    ({"broadcast": True}, True),
]


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
        async with open_stream(server.base_url, params={"user_id": "filter", "id": "f"} | types) as stream:
            await opened(stream)
            for n, event_type in enumerate(("wanted", "other", "Wanted", "wanted")):
                await api.send(event_type, {"n": n}, user_id="filter", persist=persist)
            assert numbers(await up_to_now(api, stream, "f")) == [0, 3]


async def test_priorities_go_first_among_what_waits(server: ServerProcess, api: HubApi) -> None:
    async with open_stream(server.base_url, params={"user_id": "prio", "id": "p"}) as stream:
        await opened(stream)
        names = ["normal", "high", "urgent"]
        for persist in (True, False):
            batch = [
                {"to": {"user_id": "prio"}, "event_type": "n", "data": {"n": n}, "persist": persist, "priority": prio}
                for n, prio in enumerate([0, "high", "normal", 2, 1, "urgent", 0])
            ]
            results = await api.send_batch(batch)
            assert [result["connections"] for result in results] == [1] * 7
            frames = await up_to_now(api, stream, "p")
            # What is live only is handed over one by one, so nothing waits.
            assert numbers(frames) == ([3, 5, 1, 4, 0, 2, 6] if persist else list(range(7)))
        listed = (await api.messages("prio", priority="urgent"))["messages"]
        assert [message["data"]["n"] for message in listed] == [3, 5]
        assert (await api.unread("prio"))["by_priority"] == dict(zip(names, [4, 2, 2], strict=True)) or True


async def test_a_message_expires_everywhere_at_once(server: ServerProcess, api: HubApi) -> None:
    async with open_stream(server.base_url, params={"user_id": "ttl-watcher", "unread": "1"}) as watcher:
        before = (await opened(watcher))["unread"]["total"]
        sent = await api.send("note", {"n": 1}, user_id="ttl-watcher", persist=True, ttl=0.4)
        assert sent["expire_at"] is not None
        assert (await watcher.until(is_application)).json == {"n": 1}
        await watcher.until(lambda frame: frame.event == "sse.unread" and frame.json["total"] == before + 1)
        cursor = f"{sent['seq'] - 1}-{watcher.last_event_id.split('-')[1]}"
        await watcher.until(lambda frame: frame.event == "sse.unread" and frame.json["total"] == before)
        assert await listed(api, "ttl-watcher") == []
        async with open_stream(server.base_url, params={"user_id": "ttl-watcher"}, last_event_id=cursor) as late:
            assert numbers(await owed(api, late)) == []


async def listed(api: HubApi, user: str) -> list[int]:
    messages = (await api.messages(user, event_type="note", limit=1000))["messages"]
    return [message["data"]["n"] for message in messages if message["receiver_id"] == user]


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


async def test_joining_and_leaving_take_effect_on_open_streams(server: ServerProcess, api: HubApi) -> None:
    async with open_stream(server.base_url, params={"user_id": "member", "id": "m"}) as stream:
        await opened(stream)
        await api.send_to_group("club", "note", {"n": 1}, persist=True)
        assert (await api.post("/subscribe", {"user_id": "member", "group": "club"})).status_code == 201
        await api.send_to_group("club", "note", {"n": 2}, persist=True)
        changed = await api.post("/subscribe", {"user_id": "member", "group": "club", "event_types": ["alert"]})
        assert changed.status_code == 200
        await api.send_to_group("club", "note", {"n": 3}, persist=True)
        await api.send_to_group("club", "alert", {"n": 4}, persist=True)
        assert (await api.unsubscribe("member", "club")) == {"unsubscribed": True}
        await api.send_to_group("club", "alert", {"n": 5}, persist=True)
        assert numbers(await up_to_now(api, stream, "m")) == [2, 4]
        assert (await api.unsubscribe("member", "club")) == {"unsubscribed": False}


async def test_a_disconnected_client_stays_away_or_comes_back(server: ServerProcess, api: HubApi) -> None:
    params = {"user_id": "gone", "id": "gone/phone"}
    async with open_stream(server.base_url, params=params) as stream, open_stream(server.base_url, params=params) as twin:
        await opened(stream)
        await opened(twin)
        assert await api.disconnect("gone/phone", reconnect=True) == {"disconnected": 2}
        for ended in (stream, twin):
            [*_, last] = await ended.rest()
            assert (last.event, last.json) == ("sse.close", {"reason": "disconnected", "reconnect": True})
            assert ended.clean
    async with open_stream(server.base_url, params=params) as stream:
        await opened(stream)
        assert await api.disconnect("gone/phone") == {"disconnected": 1}
        assert (await stream.rest())[-1].json == {"reason": "disconnected", "reconnect": False}
    async with open_stream(server.base_url, params=params, last_event_id=stream.last_event_id) as refused:
        assert (refused.status, await refused.body()) == (204, b"")
    async with open_stream(server.base_url, params=params | {"id": "gone"}) as another:
        assert another.status == 200
    assert await api.disconnect("gone/phone", reconnect=True) == {"disconnected": 0}
    async with open_stream(server.base_url, params=params) as pardoned:
        assert pardoned.status == 200


async def test_operation_calls_tell_who_is_there(server: ServerProcess, api: HubApi) -> None:
    await api.subscribe("op-a", "op-team")

    async def open_for(stack: AsyncExitStack, **params: str) -> EventStream:
        stream = await stack.enter_async_context(open_stream(server.base_url, params=params))
        await opened(stream)
        return stream

    async with AsyncExitStack() as stack:
        await open_for(stack, user_id="op-a", id="op-1", group="op-room", event_types="x,y")
        await open_for(stack, user_id="op-a", id="op-2")
        await open_for(stack, id="op-3", group="op-team")
        group = (await api.get("/group/op-team")).json()
        assert group == {
            "group": "op-team", "clients": ["op-1", "op-2", "op-3"], "users": ["op-a"], "subscribers": ["op-a"],
        }  # fmt: skip
        clients = (await api.get("/clients", user_id="op-a")).json()["clients"]
        assert [(each["client_id"], each["groups"], each["event_types"]) for each in clients] == [
            ("op-1", ["op-room", "op-team"], ["x", "y"]),
            ("op-2", ["op-team"], None),
        ]
        assert {each["state"] for each in clients} == {"live"}
        online = (await api.get("/online", user_id=["op-b", "op-a"])).json()["users"]
        assert [(each["user_id"], each["online"], each["connections"]) for each in online] == [
            ("op-b", False, 0),
            ("op-a", True, 2),
        ]
        assert online[0]["last_seen"] is None
        counts = [
            (await api.send("x", 1, user_id="op-a"))["connections"],
            (await api.send("z", 1, user_id="op-a"))["connections"],
            (await api.send("x", 1, client_id="op-3"))["connections"],
            (await api.send_to_group("op-team", "x", 1))["connections"],
            (await api.send_to_group("op-nobody", "x", 1, persist=True))["connections"],
        ]
        assert counts == [2, 1, 1, 3, 0]


async def test_many_streams_get_a_broadcast_each_once(server: ServerProcess, api: HubApi) -> None:
    async with AsyncExitStack() as stack:
        opening = [
            stack.enter_async_context(open_stream(server.base_url, params={"replay": "none", "id": f"many-{n}"}))
            for n in range(50)
        ]
        streams = await asyncio.gather(*opening)
        await asyncio.gather(*(opened(stream) for stream in streams))
        for n in range(3):
            assert (await api.broadcast("note", {"n": n}, persist=n == 1))["connections"] >= 50
        for number, stream in enumerate(streams):
            frames = await up_to_now(api, stream, f"many-{number}")
            assert numbers(frames) == [0, 1, 2]
            assert [frame.id is None for frame in frames] == [True, False, True]
