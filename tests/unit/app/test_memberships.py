"""Joining and leaving on one node while streams are open on another: in effect there once it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import pytest

from sse_domain.errors import NodesUnavailable
from sse_domain.notes import Answer, LearnMemberships
from sse_domain.presence import NodeReport
from tests.unit.app.two_nodes import Nodes, two_nodes

T = TypeVar("T")


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    async with two_nodes() as nodes:
        yield nodes


async def answered(nodes: Nodes, call: Awaitable[T]) -> T:
    """With notes going as they come."""
    asked = asyncio.ensure_future(call)
    while not asked.done():
        nodes.notes.let_all_go()
        await asyncio.sleep(0)
    return await asked


async def silent(nodes: Nodes) -> None:
    """Until nothing more is told or done; what was told still waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_whoever_has_an_answer_may_rely_on_it_everywhere(nodes: Nodes) -> None:
    await nodes.report()
    _, writer = await nodes.there.open(user_id="ada")
    await answered(nodes, nodes.here.hub.subscribe("ada", "team", ["news"]))
    await nodes.there.hub.send_to_group("team", "news", 1)
    await nodes.there.hub.send_to_group("team", "other", 2)
    await answered(nodes, nodes.here.hub.unsubscribe("ada", "team"))
    await nodes.there.hub.send_to_group("team", "news", 3)
    assert [message.data for message, _ in writer.given] == [b"1"]


async def test_nothing_is_answered_before_the_other_node_knows(nodes: Nodes) -> None:
    await nodes.report()
    asked = asyncio.create_task(nodes.here.hub.subscribe("ada", "team"))
    await nodes.notes.until(1)
    nodes.notes.let_all_go()
    store_answers = asyncio.Event()
    changed_since = nodes.store.subscriptions.changed_since

    async def later(version: int, limit: int) -> object:
        await store_answers.wait()
        return await changed_since(version, limit)

    nodes.store.subscriptions.changed_since = later  # type: ignore[assignment,method-assign]
    await silent(nodes)
    assert not nodes.notes.waiting
    assert not asked.done()
    store_answers.set()
    await nodes.notes.until(1)
    [answer] = [held.note for held in nodes.notes.waiting]
    assert isinstance(answer, Answer)
    nodes.notes.let_all_go()
    await asked


async def test_a_node_that_has_learnt_of_it_already_says_so_at_once(nodes: Nodes) -> None:
    await nodes.report()
    asked = asyncio.create_task(nodes.here.hub.subscribe("ada", "team"))
    await nodes.notes.until(1)
    [question] = nodes.notes.waiting
    nodes.notes.lose()
    await nodes.there.container.feed().catch_up()
    nodes.notes.hear(question)
    assert len(nodes.notes.waiting) == 1
    nodes.notes.let_all_go()
    await asked


async def test_a_question_about_another_log_is_not_answered(nodes: Nodes) -> None:
    await nodes.report()
    await answered(nodes, nodes.here.hub.subscribe("ada", "team"))
    nodes.here.container.shared().bus.tell(LearnMemberships("question", "another0", 1))
    nodes.notes.let_go()
    await silent(nodes)
    assert not nodes.notes.waiting


@pytest.mark.parametrize("asking", ["nobody answers", "nobody can be asked", "it is known that nobody hears"])
async def test_whoever_cannot_answer_keeps_nobody_waiting(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, asking: str
) -> None:
    await nodes.report()

    async def unavailable() -> list[NodeReport]:
        raise NodesUnavailable("Redis did not answer")

    shared = nodes.here.container.shared()
    if asking == "nobody answers":
        monkeypatch.setattr("sse_app.memberships.ASKING_SECONDS", 0)
    elif asking == "nobody can be asked":
        monkeypatch.setattr(shared.presence, "nodes", unavailable)
    else:
        monkeypatch.setattr(shared.bus, "health", lambda: {"healthy": False})
    assert await nodes.here.hub.subscribe("ada", "team")
    assert await nodes.here.hub.unsubscribe("ada", "team")
    assert not nodes.here.container.questions()._asking


async def test_what_changes_nothing_asks_nobody(nodes: Nodes) -> None:
    await nodes.report()
    assert not await nodes.here.hub.unsubscribe("ada", "team")
    assert not nodes.notes.waiting
