"""The calls of SPEC §2 over a real socket, on each store: fields, defaults, answers, statuses."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sse_app import HubService
from tests.support.event_stream import open_stream
from tests.support.http import HubApi

pytestmark = pytest.mark.parametrize("hub", ["memory", "sqlite"], indirect=True)

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


async def test_an_ephemeral_message_has_neither_seq_nor_expiry(api: HubApi) -> None:
    response = await api.post("/send", {"user_id": "u1", "event_type": "note", "data": None})
    assert response.status_code == 201
    answer = response.json()
    assert answer.pop("event_id")
    assert answer == {"seq": None, "persisted": False, "expire_at": None, "connections": 0}


async def test_persisted_messages_are_numbered_and_listed(api: HubApi) -> None:
    sent = await api.send(
        "order.paid", {"b": 1, "a": 2}, user_id="u1", persist=True, priority="high", ttl=3600, event_id="order-1"
    )
    assert sent["event_id"] == "order-1"
    assert sent["seq"] == 1
    assert sent["persisted"] is True
    assert TIMESTAMP.fullmatch(sent["expire_at"])
    [message] = (await api.messages("u1"))["messages"]
    assert TIMESTAMP.fullmatch(message.pop("created_at"))
    assert message == {
        "event_id": "order-1",
        "seq": 1,
        "event_type": "order.paid",
        "receiver_type": "user",
        "receiver_id": "u1",
        "group": None,
        "priority": 1,
        "data": {"b": 1, "a": 2},
        "status": "pending",
        "expire_at": sent["expire_at"],
    }


async def test_a_repeat_is_200_with_the_first_identity_and_other_content_is_409(api: HubApi) -> None:
    body = {"user_id": "u1", "event_type": "n", "data": {"a": 1, "b": 2}, "persist": True, "event_id": "e1"}
    first = await api.post("/send", body)
    again = await api.post("/send", body | {"data": {"b": 2, "a": 1}})
    other = await api.post("/send", body | {"data": {"a": 1, "b": 3}})
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert again.json()["event_id"] == "e1"
    assert again.json()["seq"] == first.json()["seq"]
    assert other.json()["code"] == "event_id_conflict"
    assert len((await api.messages("u1"))["messages"]) == 1


@pytest.mark.parametrize(
    ("given", "kept"), [(0, 0), (1, 1), (2, 2), ("normal", 0), ("high", 1), ("urgent", 2)], ids=str
)
async def test_every_spelling_of_a_priority(api: HubApi, given: object, kept: int) -> None:
    await api.send("n", 1, user_id="u1", persist=True, priority=given)
    assert [message["priority"] for message in (await api.messages("u1"))["messages"]] == [kept]


async def test_every_receiver_gets_its_own(api: HubApi, base_url: str) -> None:
    params = {"id": "c1", "user_id": "u1", "group": "g/1"}
    async with open_stream(base_url, params=params) as stream, open_stream(base_url) as stranger:
        await stream.next()
        await stranger.next()
        assert (await api.send("t", "user", user_id="u1"))["connections"] == 1
        assert (await api.send("t", "client", client_id="c1"))["connections"] == 1
        assert (await api.send_to_group("g/1", "t", "group"))["connections"] == 1
        assert (await api.broadcast("t", "all"))["connections"] == 2
        assert [(await stream.next()).json for _ in range(4)] == ["user", "client", "group", "all"]
        assert (await stranger.next()).json == "all"


async def test_each_message_of_a_batch_fails_alone(api: HubApi) -> None:
    good: dict[str, Any] = {"event_type": "t", "data": 1, "persist": True}
    results = await api.send_batch(
        [
            {"to": {"user_id": "u1"}} | good,
            {"to": {"user_id": "u1", "group": "g"}} | good,
            {"to": {"broadcast": True}} | good | {"data": [1.50]},
            {"to": {"broadcast": False}} | good,
            {"to": {"group": "g"}} | good | {"event_type": "sse.open"},
            {"to": {"client_id": "c"}, "event_type": "t", "data": "x" * (256 * 1024 - 1)},
            {"to": {"group": "g"}} | good | {"event_id": "e1"},
            {"to": {"group": "g"}} | good | {"event_id": "e1", "data": 2},
        ]
    )
    assert [result.get("seq") for result in results] == [1, None, 2, None, None, None, 3, None]
    errors = [result["error"]["code"] if "error" in result else None for result in results]
    assert errors == [
        None,
        "invalid_to",
        None,
        "invalid_to",
        "invalid_event_type",
        "data_too_large",
        None,
        "event_id_conflict",
    ]
    assert results[5]["error"]["status"] == 413
    assert (await api.post("/send/batch", {"messages": []})).json() == {"results": []}


async def test_a_batch_takes_a_thousand_messages_and_no_more(api: HubApi) -> None:
    message = {"to": {"user_id": "u1"}, "event_type": "t", "data": 1, "persist": True}
    assert [result["seq"] for result in await api.send_batch([message] * 1000)] == list(range(1, 1001))
    refused = await api.post("/send/batch", {"messages": [message] * 1001})
    assert refused.status_code == 400
    assert refused.json()["code"] == "invalid_messages"


async def test_listing_filters_and_pages(api: HubApi) -> None:
    await api.subscribe("u1", "g1")
    for number in range(5):
        await api.send("a", number, user_id="u1", persist=True, priority=number % 3)
    await api.send_to_group("g1", "b", "group", persist=True)
    await api.broadcast("b", "all", persist=True)

    async def seqs(**filters: Any) -> list[int]:
        return [message["seq"] for message in (await api.messages("u1", **filters))["messages"]]

    assert await seqs() == [1, 2, 3, 4, 5, 6, 7]
    assert await seqs(order="desc") == [7, 6, 5, 4, 3, 2, 1]
    assert await seqs(event_type="b") == [6, 7]
    assert await seqs(group="g1") == [6]
    assert await seqs(priority="high") == [2, 5]
    assert await seqs(priority=1) == [2, 5]
    assert await seqs(status="unread", limit=2) == [1, 2]
    assert await seqs(status="read") == []
    assert await seqs(since=(datetime.now(UTC) + timedelta(hours=1)).isoformat()) == []
    assert await seqs(since="0") == [1, 2, 3, 4, 5, 6, 7]
    page = await api.messages("u1", limit=4)
    rest = await api.messages("u1", limit=4, after=page["next"])
    assert [message["seq"] for message in rest["messages"]] == [5, 6, 7]
    assert rest["next"] is None
    group_message = (await api.messages("u1", group="g1"))["messages"][0]
    assert (group_message["group"], group_message["receiver_type"]) == ("g1", "group")
    broadcast = (await api.messages("u1", order="desc", limit=1))["messages"][0]
    assert (broadcast["receiver_type"], broadcast["receiver_id"], broadcast["group"]) == ("broadcast", None, None)


async def test_an_unknown_position_is_404(api: HubApi) -> None:
    response = await api.get("/messages", user_id="u1", after="no-such-event")
    assert response.status_code == 404
    assert response.json()["code"] == "unknown_event_id"


async def test_pending_is_what_no_stream_was_given(api: HubApi, base_url: str) -> None:
    await api.send("n", 1, user_id="u1", persist=True)
    assert [message["data"] for message in (await api.pending("u1"))["messages"]] == [1]
    async with open_stream(base_url, "/api/v1/sse/stream/u1") as stream:
        await stream.next()
        await stream.next()
        assert (await api.pending("u1"))["messages"] == []


async def test_marking_read_by_ids_position_or_all(api: HubApi) -> None:
    ids = [(await api.send("n", n, user_id="u1", persist=True, priority=n % 3))["event_id"] for n in range(6)]
    none = {"normal": 0, "high": 0, "urgent": 0}
    assert (await api.unread("u1"))["by_priority"] == {"normal": 2, "high": 2, "urgent": 2}
    marked = await api.mark_read("u1", event_ids=[ids[0], ids[0], "unknown"])
    assert marked["marked"] == 1
    assert marked["unread"]["total"] == 5
    assert (await api.mark_read("u1", up_to=ids[2]))["marked"] == 2
    assert (await api.mark_read("u1", all=True)) == {
        "marked": 3,
        "unread": {"user_id": "u1", "total": 0, "by_priority": none, "by_group": {}, "by_event_type": {}},
    }
    assert (await api.mark_read("u1", all=True))["marked"] == 0


async def test_a_streams_id_will_do_where_an_event_id_does(api: HubApi, base_url: str) -> None:
    await api.send("n", 1, user_id="u1", persist=True)
    await api.send("n", 2, user_id="u1", persist=True)
    async with open_stream(base_url, "/api/v1/sse/stream/u1") as stream:
        await stream.next()
        first, second = await stream.next(), await stream.next()
    assert (await api.mark_read("u1", up_to=first.id))["marked"] == 1
    assert (await api.mark_read("u1", event_ids=[second.id]))["marked"] == 1
    assert [message["data"] for message in (await api.messages("u1", after=first.id))["messages"]] == [2]


async def test_memberships(api: HubApi) -> None:
    body = {"user_id": "u1", "group": "g1"}
    created = await api.post("/subscribe", body)
    changed = await api.post("/subscribe", body | {"event_types": ["a", "b"]})
    assert (created.status_code, changed.status_code) == (201, 200)
    assert created.json() == body | {"event_types": None}
    listed = await api.get("/subscriptions", user_id="u1")
    assert listed.json() == {"subscriptions": [body | {"event_types": ["a", "b"]}]}
    assert await api.unsubscribe("u1", "g1") == {"unsubscribed": True}
    assert await api.unsubscribe("u1", "g1") == {"unsubscribed": False}


async def test_who_is_there(api: HubApi, base_url: str) -> None:
    await api.subscribe("u9", "g/1 ü")
    params = {"id": "c1", "user_id": "u1", "group": "g/1 ü"}
    async with open_stream(base_url, params=params) as stream:
        await stream.next()
        group = await api.get("/group/g%2F1%20%C3%BC")
        assert group.json() == {"group": "g/1 ü", "clients": ["c1"], "users": ["u1"], "subscribers": ["u9"]}
        [client] = (await api.get("/clients", user_id="u1")).json()["clients"]
        assert (client["client_id"], client["user_id"], client["groups"]) == ("c1", "u1", ["g/1 ü"])
        assert TIMESTAMP.fullmatch(client["connected_at"])
        online = (await api.get("/online", user_id=["u1", "u2"])).json()["users"]
        assert [(user["user_id"], user["online"], user["connections"]) for user in online] == [
            ("u1", True, 1),
            ("u2", False, 0),
        ]
        info = await api.info()
        assert (info["clients"], info["connections"], info["users"], info["groups"]) == (1, 1, 1, 1)
        assert info["storage"]["healthy"] is True


async def test_disconnecting_nobody(api: HubApi) -> None:
    assert await api.disconnect("nobody") == {"disconnected": 0}
    bare = await api.client.post("/api/v1/sse/disconnect/nobody")
    assert (bare.status_code, bare.json()) == (200, {"disconnected": 0})


async def test_health(api: HubApi, hub: HubService) -> None:
    live, ready = await api.client.get("/health/live"), await api.client.get("/health/ready")
    assert (live.status_code, ready.status_code) == (200, 200)
    hub.draining = True
    live, ready = await api.client.get("/health/live"), await api.client.get("/health/ready")
    assert (live.status_code, ready.status_code) == (200, 503)
    assert ready.json() == {"status": "unavailable"}


async def test_health_by_head_is_the_same_without_a_body(api: HubApi, hub: HubService) -> None:
    for draining in (False, True):
        hub.draining = draining
        for path in ("/health/live", "/health/ready"):
            whole, head = await api.client.get(path), await api.client.head(path)
            assert (head.status_code, head.content) == (whole.status_code, b"")
            assert head.headers["content-type"] == whole.headers["content-type"]
            assert head.headers["content-length"] == whole.headers["content-length"]
            assert head.headers["cache-control"] == "no-store"
    refused = await api.client.post("/health/live")
    assert refused.status_code == 405
    assert {"GET", "HEAD"} <= set(refused.headers["allow"].split(", "))
