"""Real servers that are one hub by Redis: from outside it does not matter which of them is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from tests.integration.service.reading import opened
from tests.support.event_stream import EventStream, StreamEndedError, open_stream
from tests.support.http import API_PREFIX, JsonObject
from tests.support.patience import within
from tests.support.redis_server import redis_prefix, redis_url
from tests.support.server_process import ServerProcess, run_server

HEARTBEAT_SECONDS = 2.0
SECONDS = 60  # that something may take: what is missed would be waited for for ever


class Nodes:
    """Two servers, and a client for both."""

    def __init__(self, here: ServerProcess, there: ServerProcess, client: httpx.AsyncClient, prefix: str) -> None:
        self.here = here
        self.there = there
        self.prefix = prefix
        self._client = client

    async def ask(self, node: ServerProcess, method: str, path: str, body: JsonObject | None = None) -> Any:
        response = await self._client.request(method, f"{node.base_url}{API_PREFIX}{path}", json=body)
        assert response.is_success, response.text
        return response.json()

    async def send(self, node: ServerProcess, to: JsonObject, data: int, **options: object) -> Any:
        path = "/send/group" if "group" in to else "/send"
        return await self.ask(node, "POST", path, {"event_type": "t", "data": data, **to, **options})

    async def see_each_other(self, node: ServerProcess) -> None:
        """Until this node hears, and knows of the other."""
        async with within(SECONDS):
            info = await self.ask(node, "GET", "/info")
            while not info["bus"]["healthy"] or len(info["nodes"]) < 2:
                await asyncio.sleep(0.01)
                info = await self.ask(node, "GET", "/info")

    async def until(self, path: str, holds: str, value: object, *, node: ServerProcess) -> Any:
        """Ask again and again until the answer has this."""
        async with within(SECONDS):
            while (answer := await self.ask(node, "GET", path))[holds] != value:  # noqa: ASYNC110  (another process)
                await asyncio.sleep(0.01)
        return answer


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with AsyncExitStack() as stack:
        prefix = await stack.enter_async_context(redis_prefix())
        settings = {
            "SSE_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}",
            "SSE_REDIS_URL": redis_url(),
            "SSE_REDIS_PREFIX": prefix,
            "SSE_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
            "SSE_DRAIN_SECONDS": "0.2",
        }
        here, there = [await stack.enter_async_context(run_server(tmp_path, settings)) for _ in range(2)]
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=30, trust_env=False))
        both = Nodes(here, there, client, prefix)
        for node in (here, there):
            await both.see_each_other(node)
        yield both


async def event_of(stream: EventStream) -> int:
    frame = await stream.until(lambda frame: frame.event == "t")
    return int(frame.json)


async def test_what_is_sent_to_one_node_reaches_the_streams_of_the_other(nodes: Nodes) -> None:
    async with open_stream(nodes.here.base_url, params={"user_id": "ada", "group": "lobby"}) as stream:
        await opened(stream)
        for number, options in enumerate(({"persist": True}, {"persist": False}) * 3):
            answer = await nodes.send(nodes.there, {"user_id": "ada"}, number, **options)
            assert answer["connections"] == 0, "those of the node that was asked"
            assert await event_of(stream) == number
        await nodes.send(nodes.there, {"group": "lobby"}, 7)
        assert await event_of(stream) == 7


async def test_a_join_and_a_leave_are_in_force_on_every_node_once_they_are_answered(nodes: Nodes) -> None:
    team = {"user_id": "ada", "group": "team"}
    async with open_stream(nodes.here.base_url, params={"user_id": "ada"}) as stream:
        await opened(stream)
        for number in range(10):
            for sender in (nodes.here, nodes.there):
                await nodes.ask(nodes.there, "POST", "/subscribe", team)
                await nodes.send(sender, {"group": "team"}, number)
                await nodes.ask(nodes.there, "POST", "/unsubscribe", team)
                await nodes.send(sender, {"group": "team"}, -1)
        await nodes.send(nodes.there, {"user_id": "ada"}, 10)
        given = [await event_of(stream)]
        while given[-1] != 10:
            given.append(await event_of(stream))
    assert given == [*sorted([*range(10)] * 2), 10]


async def test_it_does_not_wait_for_the_tick(nodes: Nodes) -> None:
    """Twenty in a row, each sent when the one before has come: with the tick each would take half a second or more."""
    latencies = []
    async with open_stream(nodes.here.base_url, params={"user_id": "ada"}) as stream:
        await opened(stream)
        for number in range(20):
            began = monotonic()
            await nodes.send(nodes.there, {"user_id": "ada"}, number, persist=True)
            assert await event_of(stream) == number
            latencies.append(monotonic() - began)
    assert median(latencies) < 0.4


async def test_a_stream_resumes_on_the_other_node(nodes: Nodes) -> None:
    async with open_stream(nodes.here.base_url, params={"user_id": "ada"}) as stream:
        await opened(stream)
        await nodes.send(nodes.there, {"user_id": "ada"}, 1, persist=True)
        assert await event_of(stream) == 1
        last = stream.last_event_id
    await nodes.send(nodes.here, {"user_id": "ada"}, 2, persist=True)
    async with open_stream(nodes.there.base_url, params={"user_id": "ada"}, last_event_id=last) as stream:
        assert (await opened(stream))["resumed"] is True
        assert await event_of(stream) == 2


async def test_groups_joined_and_left_anywhere_take_effect_everywhere(nodes: Nodes) -> None:
    async with open_stream(nodes.here.base_url, params={"user_id": "ada"}) as stream:
        await opened(stream)
        await nodes.ask(nodes.there, "POST", "/subscribe", {"user_id": "ada", "group": "team"})
        await nodes.send(nodes.there, {"group": "team"}, 1, persist=True)
        assert await event_of(stream) == 1
        await nodes.until("/group/team", "users", ["ada"], node=nodes.there)
        await nodes.ask(nodes.there, "POST", "/unsubscribe", {"user_id": "ada", "group": "team"})
        await nodes.send(nodes.there, {"group": "team"}, 2, persist=True)
        await nodes.send(nodes.there, {"user_id": "ada"}, 3, persist=True)
        assert await event_of(stream) == 3


async def test_read_marks_are_told_to_the_users_streams_everywhere(nodes: Nodes) -> None:
    await nodes.send(nodes.there, {"user_id": "ada"}, 1, persist=True)
    async with open_stream(nodes.here.base_url, params={"user_id": "ada", "unread": "1"}) as stream:
        assert (await opened(stream))["unread"]["total"] == 1
        await nodes.ask(nodes.there, "POST", "/messages/read", {"user_id": "ada", "all": True})
        await stream.until(lambda frame: frame.event == "sse.unread" and frame.json["total"] == 0)


async def test_everyone_is_seen_from_every_node_and_gone_with_a_node_that_crashes(nodes: Nodes) -> None:
    params = {"user_id": "ada", "id": "phone", "group": "lobby"}
    async with (
        open_stream(nodes.here.base_url, params={"user_id": "bob", "id": "tv"}) as here,
        open_stream(nodes.there.base_url, params=params) as there,
    ):
        await opened(here)
        await opened(there)
        for node in (nodes.here, nodes.there):
            info = await nodes.until("/info", "connections", 2, node=node)
            assert (info["clients"], info["users"], info["groups"], len(info["nodes"])) == (2, 2, 1, 2)
            online = await nodes.ask(node, "GET", "/online?user_id=ada&user_id=bob&user_id=eve")
            assert [user["connections"] for user in online["users"]] == [1, 1, 0]
            lobby = await nodes.ask(node, "GET", "/group/lobby")
            assert (lobby["clients"], lobby["users"]) == (["phone"], ["ada"])
            clients = await nodes.ask(node, "GET", "/clients?limit=10")
            assert {client["client_id"] for client in clients["clients"]} == {"phone", "tv"}
        node_id = (await nodes.ask(nodes.there, "GET", "/info"))["node_id"]
        async with Redis.from_url(redis_url()) as redis:
            said = [key async for key in redis.scan_iter(f"*{nodes.prefix}*:{node_id}:*")]
            assert said
            await nodes.there.kill9()
            assert max([await redis.pttl(key) for key in said]) <= 2 * HEARTBEAT_SECONDS * 1000, "it is gone by then"
        await nodes.until("/info", "connections", 1, node=nodes.here)
        [ada] = (await nodes.ask(nodes.here, "GET", "/online?user_id=ada"))["users"]
        assert ada["online"] is False


@pytest.mark.parametrize("body", [{"client_id": "phone"}, {"user_id": "ada"}])
async def test_streams_are_ended_wherever_they_are(nodes: Nodes, body: JsonObject) -> None:
    async with (
        open_stream(nodes.here.base_url, params={"user_id": "ada", "id": "phone"}) as one,
        open_stream(nodes.there.base_url, params={"user_id": "ada", "id": "phone"}) as two,
    ):
        await opened(one)
        await opened(two)
        assert await nodes.ask(nodes.here, "POST", "/disconnect", body) == {"disconnected": 2}
        for stream in (one, two):
            assert (await stream.rest())[-1].json == {"reason": "disconnected", "reconnect": False}
    for node in (nodes.here, nodes.there):
        async with open_stream(node.base_url, params={"user_id": "ada", "id": "phone"}) as refused:
            assert refused.status == httpx.codes.NO_CONTENT


async def test_a_large_count_is_cached_and_never_wrong(nodes: Nodes) -> None:
    message = {"to": {"user_id": "ada"}, "event_type": "t", "data": 1, "persist": True}
    await nodes.ask(nodes.there, "POST", "/send/batch", {"messages": [message] * 300})
    unread = "/messages/unread?user_id=ada"
    redis = Redis.from_url(redis_url())
    try:
        async with within(SECONDS):
            # When Redis is slow to answer, it is not asked again for some seconds.
            while not (await nodes.ask(nodes.here, "GET", "/info"))["unread_cache"]["hits"]:
                assert (await nodes.ask(nodes.here, "GET", unread))["total"] == 300
        for expected, path, body in [
            (301, "/send", {"user_id": "ada", "event_type": "t", "data": 1, "persist": True}),
            (0, "/messages/read", {"user_id": "ada", "all": True}),
        ]:
            await nodes.ask(nodes.there, "POST", path, body)
            assert (await nodes.ask(nodes.here, "GET", unread))["total"] == expected
        assert (await nodes.ask(nodes.here, "GET", "/info"))["unread_cache"]["drift"] == 0
        assert [key async for key in redis.scan_iter(f"*{nodes.prefix}*unread*")], "it is in Redis"
    finally:
        await redis.aclose()


async def test_a_stopped_node_is_gone_at_once(nodes: Nodes) -> None:
    async with open_stream(nodes.there.base_url, params={"user_id": "ada"}) as stream:
        await opened(stream)
        await nodes.until("/info", "connections", 1, node=nodes.here)
        stopping = asyncio.create_task(nodes.there.terminate())
        frames = await stream.rest()
        assert frames[-1].event == "sse.close"
        assert await stopping == 0
    info = await nodes.ask(nodes.here, "GET", "/info")
    assert (len(info["nodes"]), info["connections"]) == (1, 0)
    with pytest.raises((ConnectionError, StreamEndedError)):
        async with open_stream(nodes.there.base_url):
            pass
