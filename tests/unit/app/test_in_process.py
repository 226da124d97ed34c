"""The in-process face: Python values in and out."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec
import pytest

from sse_app import BROADCAST, HubService, Receiver, Settings, draft, open_hub
from sse_app.in_process import LISTENER_BUFFER
from sse_domain.errors import InvalidInput, ShuttingDown
from sse_domain.inbox import InboxEntry
from tests.unit.app.conftest import Parts


async def test_a_listener_gets_the_events_of_its_audience_as_values(node: Parts) -> None:
    await node.hub.send_to_user("ada", "kept", {"n": 1.5}, persist=True)
    async with node.hub.listen(user_id="ada") as stream:
        await node.settle()
        await node.hub.send_to_client("other", "not-hers", 0)
        await node.hub.broadcast("live", [None])
        kept, live = await anext(stream), await anext(stream)
    assert (kept.event_type, kept.data, live.event_type, live.data) == ("kept", {"n": 1.5}, "live", [None])
    assert stream.opened["user_id"] == "ada"
    assert live.id == kept.id == stream.last_event_id


async def test_a_listener_resumes_by_the_id_of_what_it_handled(node: Parts) -> None:
    for number in range(5):
        await node.hub.send_to_user("ada", "t", number, persist=True, priority=number % 3)
    async with node.hub.listen(user_id="ada") as stream:
        await node.settle()
        first = [(await anext(stream)).data, (await anext(stream)).data]
    async with node.hub.listen(user_id="ada", last_event_id=stream.last_event_id) as stream:
        await node.settle()
        rest = [(await anext(stream)).data for _ in range(3)]
    assert first + rest == [2, 1, 4, 0, 3]


async def test_a_listener_that_does_not_read_is_bounded_and_loses_nothing(node: Parts) -> None:
    async with node.hub.listen(user_id="ada") as stream:
        for number in range(LISTENER_BUFFER * 3):
            await node.hub.send_to_user("ada", "t", number, persist=True)
        assert stream.blocked
        seen: list[int] = []
        while len(seen) < LISTENER_BUFFER * 3:
            seen.append((await anext(stream)).data)
            await node.settle()
    assert seen == list(range(LISTENER_BUFFER * 3))


async def test_one_that_gives_up_waiting_takes_nothing_from_the_next(node: Parts) -> None:
    async with node.hub.listen(user_id="ada") as stream:
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        await node.hub.send_to_user("ada", "t", 1)
        assert (await anext(stream)).data == 1
    await asyncio.wait([waiting])
    assert waiting.cancelled()


async def test_those_who_wait_on_one_stream_share_what_comes(node: Parts) -> None:
    async with node.hub.listen(user_id="ada") as stream:
        waiting = [asyncio.ensure_future(anext(stream)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        for number in range(2):
            await node.hub.send_to_user("ada", "t", number)
            await asyncio.sleep(0)  # the turn in which one takes it
        assert [each.result().data for each in (waiting[0], waiting[2])] == [0, 1]


async def test_a_listener_ends_when_the_hub_ends_its_stream(node: Parts) -> None:
    async with node.hub.listen(client_id="phone", control_events=True) as stream:
        await node.hub.disconnect("phone", reconnect=False)
        events = [event.event_type async for event in stream]
    assert events == ["sse.open", "sse.close"]
    assert stream.closed == "disconnected"


async def test_history_lists_by_what_is_asked(node: Parts) -> None:
    for number in range(5):
        await node.hub.send_to_user("ada", "t", number, persist=True, priority=number % 2)
    page = await node.hub.history("ada", priority=0, newest_first=True, limit=2)
    assert [entry.message.data for entry in page.entries] == [b"4", b"2"]
    rest = await node.hub.history("ada", priority=0, newest_first=True, limit=2, after=page.next)
    assert ([entry.message.data for entry in rest.entries], rest.next) == ([b"0"], None)
    first: InboxEntry = (await node.hub.history("ada", status="pending", limit=1)).entries[0]
    assert first.status.name == "PENDING"


async def _bad_call(hub: HubService, wrong: str) -> None:
    match wrong:
        case "priority":
            draft(BROADCAST, "t", 1, priority=3)
        case "data":
            draft(Receiver.user("ada"), "t", object())
        case "replay":
            async with hub.listen(replay="some"):
                pass
        case "status":
            await hub.history("ada", status="lost")
        case "limit":
            await hub.history("ada", limit=0)


@pytest.mark.parametrize("wrong", ["priority", "data", "replay", "status", "limit"])
async def test_bad_values_are_the_same_errors_as_over_http(node: Parts, wrong: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        await _bad_call(node.hub, wrong)
    assert raised.value.code == f"invalid_{wrong}"


@dataclass
class Reading:
    value: Any


class Record(msgspec.Struct):
    value: Any


class Limit(Enum):
    NONE = math.inf


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, Limit.NONE])
@pytest.mark.parametrize(
    "around",
    [
        lambda number: number,
        lambda number: [1, [number]],
        lambda number: {"a": {"b": number}},
        lambda number: {1: None, 2: number},
        lambda number: (None, number),
        lambda number: frozenset([number]),
        lambda number: Reading([number]),
        lambda number: [Record({"a": number})],
        lambda number: [10**30, number],
        lambda number: [msgspec.Raw(b"null"), number],
    ],
    ids=["itself", "list", "dict", "by number", "tuple", "set", "dataclass", "Struct", "large", "raw"],
)
def test_what_json_has_no_number_for_is_refused(around: Any, number: Any) -> None:
    with pytest.raises(InvalidInput, match="neither NaN nor Infinity") as raised:
        draft(BROADCAST, "t", around(number))
    assert raised.value.field == "data"


@pytest.mark.parametrize(
    ("data", "encoded"),
    [
        (None, b"null"),
        ("null", b'"null"'),
        ({"a": None, "b": [1.5, (1e308, -0.0)]}, b'{"a":null,"b":[1.5,[1e308,-0.0]]}'),
        ([None, 10**30], b"[null,1000000000000000000000000000000]"),
        ([None, msgspec.Raw(b"1.0")], b"[null,1.0]"),
        ([None, Record(Reading(1.5))], b'[null,{"value":{"value":1.5}}]'),
        # What in MessagePack looks like Infinity.
        ([None, 0xCB7FF00000000000], b"[null,14663702794532290560]"),
        ([None, msgspec.Raw(b"1.0"), 0xCB7FF00000000000], b"[null,1.0,14663702794532290560]"),
    ],
    ids=["none", "text", "floats", "large", "raw", "nested", "lookalike", "raw lookalike"],
)
def test_null_is_what_was_given_as_none(data: Any, encoded: bytes) -> None:
    assert draft(BROADCAST, "t", data).data == encoded


async def test_a_closed_hub_takes_nothing() -> None:
    async with open_hub(Settings(database_url="memory://")) as hub:
        pass
    for options in ({}, {"event_id": "e1"}, {"persist": True}):
        with pytest.raises(ShuttingDown):
            await hub.send_to_user("ada", "t", 1, **options)
    answers = await hub.send_batch([draft(BROADCAST, "t", 1), draft(BROADCAST, "t", 1, persist=True)])
    assert [type(answer) for answer in answers] == [ShuttingDown] * 2
    with pytest.raises(ShuttingDown):
        async with hub.listen(user_id="ada"):
            pass
