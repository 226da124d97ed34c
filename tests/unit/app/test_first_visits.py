"""A named client that comes for the first time, and again: it is owed what has come since, and what is its own."""

from __future__ import annotations

from typing import Any

import pytest

from sse_domain.message import Priority
from sse_domain.replay import ReplayMode
from tests.unit.app.conftest import Parts, start_parts

FIRST_VISITS: list[dict[str, Any]] = [
    {},
    {"replay": ReplayMode.UNREAD},
    {"replay": ReplayMode.NONE},
    {"event_types": ("other",)},
    {"user_id": "ada"},
    {"user_id": "ada", "replay": ReplayMode.NONE},
]


async def visit(node: Parts, recorded: bool = True, **request: Any) -> list[str]:
    """What a stream of the client is given, which then ends."""
    stream, writer = await node.open(client_id="tv", **request)
    stream.leave()
    if recorded:
        await node.container.ledger().flush()
    return writer.types


@pytest.mark.parametrize("first", FIRST_VISITS, ids=str)
@pytest.mark.parametrize("recorded", [True, False])
async def test_what_was_sent_before_it_came_is_not_owed_to_it(
    node: Parts, first: dict[str, Any], recorded: bool
) -> None:
    for priority in Priority:
        await node.hub.broadcast("old", 1, persist=True, priority=priority)
    await visit(node, recorded, **first)
    assert await visit(node, recorded) == []
    await node.hub.broadcast("new", 1, persist=True)
    assert await visit(node, recorded) == ["new"]
    assert await visit(node, recorded) == [], "nor is what is older and more urgent than what it was given"


@pytest.mark.parametrize("first", FIRST_VISITS[2:4], ids=str)
async def test_what_was_addressed_to_it_before_is(node: Parts, first: dict[str, Any]) -> None:
    await node.hub.broadcast("old", 1, persist=True)
    await node.hub.send_to_client("tv", "own", 1, persist=True)
    assert await visit(node, **first) == []
    assert await visit(node) == ["own"]
    assert await visit(node) == []


async def test_so_it_is_by_the_time_it_asks_to_begin_at(node: Parts) -> None:
    await node.hub.broadcast("old", 1, persist=True)
    await node.hub.send_to_client("tv", "own", 1, persist=True)
    node.clock.advance(1)
    assert await visit(node, since=node.clock.now()) == []
    assert await visit(node) == ["own"]


async def test_it_is_known_to_have_come_also_after_a_crash(node: Parts) -> None:
    """Once that has been written, which does not wait for it to go or to be given something."""
    await node.hub.broadcast("old", 1, persist=True)
    await node.open(client_id="tv")
    await node.container.ledger().flush()
    await node.hub.broadcast("new", 1, persist=True)
    assert await visit(await start_parts(node.clock, store=node.container.store())) == ["new"]


async def test_when_a_user_was_last_seen_is_known_also_after_a_crash(node: Parts) -> None:
    came = node.clock.now()
    await node.open(user_id="ada")
    await node.container.ledger().flush()
    node.clock.advance(60)
    restarted = await start_parts(node.clock, store=node.container.store())
    [ada] = await restarted.hub.online(["ada"])
    assert (ada.online, ada.last_seen) == (False, came)


async def test_that_somebody_has_come_is_written_once(node: Parts) -> None:
    records = []
    record = node.container.store().inbox.record_delivered

    async def counted(readers: Any) -> None:
        records.extend(readers)
        await record(readers)

    node.container.store().inbox.record_delivered = counted
    for _ in range(3):
        await node.open(user_id="ada", client_id="tv")
        await node.container.ledger().flush()
        await node.container.ledger().flush()
    assert len(records) == 2
