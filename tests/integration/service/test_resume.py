"""Exact resume (SPEC §3.3): the id of any frame brings back exactly what that stream had not been given by then."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from tests.integration.service.reading import (
    cursors,
    is_application,
    is_heartbeat,
    numbers,
    opened,
    owed,
    seq_of,
    up_to_now,
)
from tests.integration.service.write_paths import on_each_and_any_asgi_server
from tests.support.event_stream import EventStream, open_stream
from tests.support.http import HubApi, JsonObject
from tests.support.hub_databases import DURABLE, EVERY
from tests.support.server_process import ServerProcess
from tests.support.sse import Frame

# Ada's phone, in the group `lobby` by its URL and in `team` by a subscription.
READER = {"user_id": "ada", "id": "phone", "group": "lobby"}
HERS: list[JsonObject] = [
    {"user_id": "ada"},
    {"client_id": "phone"},
    {"group": "lobby"},
    {"group": "team"},
    {"broadcast": True},
]
OTHERS: list[JsonObject] = [{"user_id": "Ada"}, {"client_id": "desk"}, {"group": "staff"}]
BULK = "x" * 60_000  # a few of these fill every buffer between the server and a reader that does not read


def mixed_messages(count: int, seed: int) -> list[JsonObject]:
    """Persisted messages of all priorities, most of them for the reader."""
    random = Random(seed)
    return [
        {
            "to": random.choice(HERS + HERS + OTHERS),
            "event_type": random.choice(("note", "alert")),
            "data": {"n": n},
            "persist": True,
            "priority": random.randrange(3),
        }
        for n in range(count)
    ]


def replay_order(messages: list[JsonObject]) -> list[int]:
    """The numbers of the reader's messages, most urgent first, each priority in the order of the log."""
    hers = [message for message in messages if message["to"] in HERS]
    return [message["data"]["n"] for message in sorted(hers, key=lambda message: -message["priority"])]


async def start(server: ServerProcess, api: HubApi) -> str:
    """Join the groups at the log's beginning; the cursor from there."""
    await api.subscribe("ada", "team")
    async with open_stream(server.base_url, params=READER) as stream:
        await opened(stream)
        return stream.last_event_id


async def replay(server: ServerProcess, api: HubApi, messages: list[JsonObject]) -> list[Frame]:
    """All frames of a stream that is given these messages as a replay, and then some heartbeats."""
    cursor = await start(server, api)
    await api.send_batch(messages)
    async with open_stream(server.base_url, params=READER, last_event_id=cursor) as stream:
        assert numbers(await owed(api, stream)) == replay_order(messages)
        before = (await stream.until(is_heartbeat)).last_event_id
        await api.send("note", {"n": -1}, user_id="Ada", persist=True)
        moved = await stream.until(lambda frame: is_heartbeat(frame) and frame.last_event_id != before)
        assert seq_of(moved.last_event_id) == seq_of(before) + 1
        return stream.frames


def presented(cursor: str, stale: str) -> dict[str, tuple[dict[str, str], str | None]]:
    """The ways to hand in a cursor: a request's parameters and its Last-Event-ID header."""
    return {
        "header": (READER, cursor),
        "parameter": (READER | {"last_event_id": cursor}, None),
        "header before parameter": (READER | {"last_event_id": stale}, cursor),
    }


@on_each_and_any_asgi_server(EVERY)
async def test_every_frame_of_a_mixed_replay_resumes_exactly_however_its_id_is_handed_in(
    server: ServerProcess, api: HubApi
) -> None:
    frames = await replay(server, api, mixed_messages(90, seed=1))
    checked = 0
    for cursor, rest in cursors(frames):
        for way, (params, header) in presented(cursor, stale=frames[1].last_event_id).items():
            async with open_stream(server.base_url, params=params, last_event_id=header) as stream:
                open_frame = await stream.until(lambda frame: frame.event == "sse.open")
                assert (open_frame.json["resumed"], open_frame.json["complete"]) == (True, True)
                assert numbers(await up_to_now(api, stream, "phone")) == numbers(rest), (cursor, way)
                assert not [frame for frame in stream.frames if frame.event == "sse.reset"]
                checked += 1
    assert checked >= 3 * 60


@on_each_and_any_asgi_server(DURABLE)
@pytest.mark.parametrize("stop", ["terminate", "kill9"])
async def test_every_frame_resumes_exactly_after_a_restart(server: ServerProcess, api: HubApi, stop: str) -> None:
    messages = mixed_messages(60, seed=2)
    frames = await replay(server, api, messages)
    await getattr(server, stop)()
    await server.restart_on_same_port()
    await api.send("note", {"n": 1000}, user_id="ada", persist=True)
    for cursor, rest in cursors(frames):
        async with open_stream(server.base_url, params=READER, last_event_id=cursor) as stream:
            assert sorted(numbers(await owed(api, stream))) == sorted([*numbers(rest), 1000]), cursor


@on_each_and_any_asgi_server(EVERY)
async def test_overtaken_messages_come_back_and_delivered_ones_do_not(server: ServerProcess, api: HubApi) -> None:
    """A slow reader of a long replay is sent urgent messages meanwhile: its cursors stand at a place per priority."""
    cursor = await start(server, api)
    priority_of: dict[int, int] = {}

    async def send(priority: int, filling: str = "") -> None:
        n = len(priority_of)
        priority_of[n] = priority
        await api.send("note", {"n": n, "x": filling}, user_id="ada", persist=True, priority=priority)

    for index in range(36):
        await send(index % 3 % 2, BULK)
    async with open_stream(server.base_url, params=READER, last_event_id=cursor, receive_buffer=4096) as slow:
        await opened(slow)
        for _ in range(6):
            await send(2)
            await slow.until(is_application)
            await slow.until(is_application)
        await send(0)
        await slow.until(lambda frame: is_application(frame) and frame.json["n"] == len(priority_of) - 1)
        frames = slow.frames
    given = numbers(frames)
    assert sorted(given) == sorted(priority_of)
    assert overtakes(given, priority_of) > 0
    assert any(len((frame.id or "").split("-")) == 3 for frame in frames), "no position per priority"
    for cursor, rest in cursors(frames):
        async with open_stream(server.base_url, params=READER, last_event_id=cursor) as stream:
            resumed = numbers(await until_number(stream, api, set(numbers(rest))))
            assert resumed == sorted(numbers(rest), key=lambda n: (-priority_of[n], n)), cursor


async def until_number(stream: EventStream, api: HubApi, expected: set[int]) -> list[Frame]:
    """What a stream is given up to the last of these, and up to now after that: too much would show."""
    await opened(stream)
    frames: list[Frame] = []
    while not expected <= set(numbers(frames)):
        frames.append(await stream.until(is_application))
    return frames + await up_to_now(api, stream, "phone")


def overtakes(given: list[int], priority_of: dict[int, int]) -> int:
    """How many messages were given right after a later, more urgent one; within a priority there must be none."""
    for priority in range(3):
        lane = [n for n in given if priority_of[n] == priority]
        assert lane == sorted(lane)
    return sum(earlier > later for earlier, later in pairwise(given))


@on_each_and_any_asgi_server(EVERY)
async def test_a_reader_that_is_cut_off_again_and_again_gets_everything_once(
    server: ServerProcess, api: HubApi
) -> None:
    random = Random(3)
    cursor = await start(server, api)
    messages = mixed_messages(40, seed=3)
    for message in messages[:15]:
        message["data"]["x"] = BULK
    await api.send_batch(messages)
    expected = set(replay_order(messages))
    given: list[int] = []
    while not expected <= set(given):
        urgent = 100 + len(expected)
        if urgent < 150:
            await api.send("alert", {"n": urgent}, user_id="ada", persist=True, priority="urgent")
            expected.add(urgent)
        async with open_stream(server.base_url, params=READER, last_event_id=cursor, receive_buffer=4096) as stream:
            for _ in range(min(random.randint(1, 4), len(expected) - len(given))):
                await stream.until(is_application)
            given += numbers(stream.frames)  # what has arrived counts, also what was not waited for
            cursor = stream.last_event_id
            stream.abort()
    assert sorted(given) == sorted(expected)
