"""Delivery and operation as callers and readers see them over HTTP (SPEC §2, §3.2, §3.6, §3.7)."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.integration.service.reading import is_application, numbers, opened, owed, up_to_now
from tests.support.event_stream import EventStream, open_stream
from tests.support.http import HubApi
from tests.support.server_process import ServerProcess


@pytest.fixture
def server(shared_server: ServerProcess) -> ServerProcess:
    return shared_server


async def test_priorities_go_first_among_what_waits(server: ServerProcess, api: HubApi) -> None:
    async with open_stream(server.base_url, params={"user_id": "prio", "id": "p"}) as stream:
        await opened(stream)
        for persist in (True, False):
            batch = [
                {"to": {"user_id": "prio"}, "event_type": "n", "data": {"n": n}, "persist": persist, "priority": prio}
                for n, prio in enumerate([0, "high", "normal", 2, 1, "urgent", 0])
            ]
            results = await api.send_batch(batch)
            assert [result["connections"] for result in results] == [1] * 7
            frames = await up_to_now(api, stream, "p")
            assert numbers(frames) == [3, 5, 1, 4, 0, 2, 6]
        listed = (await api.messages("prio", priority="urgent"))["messages"]
        assert [message["data"]["n"] for message in listed] == [3, 5]
        assert (await api.unread("prio"))["by_priority"] == {"normal": 3, "high": 2, "urgent": 2}


async def test_a_message_expires_everywhere_at_once(server: ServerProcess, api: HubApi) -> None:
    async with open_stream(server.base_url, params={"user_id": "ttl-watcher", "unread": "1"}) as watcher:
        before = (await opened(watcher))["unread"]["total"]
        sent = await api.send("note", {"n": 1}, user_id="ttl-watcher", persist=True, ttl=3)
        assert sent["expire_at"] is not None
        assert (await watcher.until(is_application)).json == {"n": 1}
        await watcher.until(lambda frame: frame.event == "sse.unread" and frame.json["total"] == before + 1)
        cursor = f"{sent['seq'] - 1}-{watcher.last_event_id.split('-')[1]}"
        await watcher.until(lambda frame: frame.event == "sse.unread" and frame.json["total"] == before)
        assert (await api.messages("ttl-watcher"))["messages"] == []
        async with open_stream(server.base_url, params={"user_id": "ttl-watcher"}, last_event_id=cursor) as late:
            assert numbers(await owed(api, late)) == []


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
    async with (
        open_stream(server.base_url, params=params) as stream,
        open_stream(server.base_url, params=params) as twin,
    ):
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
