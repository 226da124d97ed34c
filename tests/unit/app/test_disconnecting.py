"""Ending streams on every node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sse_app.disconnecting import DISMISSAL_SECONDS
from sse_domain.errors import NodesUnavailable
from sse_domain.presence import NodeReport
from tests.unit.app.two_nodes import Nodes, two_nodes


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    async with two_nodes() as nodes:
        yield nodes


async def disconnect(nodes: Nodes, **whom: str) -> int:
    """From here, with notes going as they come."""
    hub = nodes.here.hub
    if "user_id" in whom:
        asked = asyncio.create_task(hub.disconnect_user(whom["user_id"]))
    else:
        asked = asyncio.create_task(hub.disconnect(whom["client_id"]))
    while not asked.done():
        nodes.notes.let_all_go()
        await asyncio.sleep(0)
    return await asked


@pytest.mark.parametrize("whom", [{"client_id": "tv"}, {"user_id": "bob"}])
async def test_streams_are_ended_and_turned_away_on_every_node(nodes: Nodes, whom: dict[str, str]) -> None:
    await nodes.report()
    writers = [(await node.open(user_id="bob", client_id="tv"))[1] for node in (nodes.here, nodes.there)]
    assert await disconnect(nodes, **whom) == 2
    assert [writer.closed for writer in writers] == [("disconnected", False)] * 2
    for node in (nodes.here.hub, nodes.there.hub):
        assert node.dismissed("tv", "bob")
        assert not node.dismissed("desk", "ada")


async def test_a_node_is_asked_again_and_ends_them_once(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_app.questions.ASKING_SECONDS", 0)
    await nodes.report()
    await nodes.there.open(client_id="tv")
    asked = asyncio.create_task(nodes.here.hub.disconnect("tv"))
    await nodes.notes.until(3)
    first, second = nodes.notes.waiting[1:3]
    nodes.notes.lose()
    nodes.notes.hear(first)
    answer = nodes.notes.waiting[-1]
    nodes.notes.hear(second)
    nodes.notes.hear(answer)
    assert await asked == 1


async def test_a_node_that_does_not_answer_is_told_of(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_app.questions.ASKING_SECONDS", 0)
    await nodes.report()
    _, writer = await nodes.here.open(client_id="tv")
    with pytest.raises(NodesUnavailable):
        await nodes.here.hub.disconnect("tv")
    assert writer.closed == ("disconnected", False)


async def test_a_node_that_is_gone_is_not_waited_for(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_app.questions.ASKING_SECONDS", 0)
    await nodes.report()
    asked = asyncio.create_task(nodes.here.hub.disconnect("tv"))
    await nodes.notes.until(1)
    nodes.clock.advance(nodes.here.container.presence().lease_seconds)
    [answer] = await asyncio.gather(asked, return_exceptions=True)
    assert answer == 0


async def test_who_comes_back_is_not_ended_by_a_note_that_comes_again(nodes: Nodes) -> None:
    await nodes.report()
    await nodes.there.open(client_id="tv")
    asked = asyncio.create_task(nodes.here.hub.disconnect("tv", reconnect=True))
    await nodes.notes.until(1)
    command = nodes.notes.waiting.pop()
    nodes.notes.hear(command)
    _, back = await nodes.there.open(client_id="tv")
    nodes.notes.hear(command)
    nodes.notes.let_all_go()
    assert (await asked, back.closed) == (1, None)


async def test_other_nodes_are_told_even_if_it_cannot_be_learnt_who_they_are(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise NodesUnavailable("gone")

    monkeypatch.setattr(nodes.here.container.shared().presence, "nodes", fail)
    writers = [(await node.open(client_id="tv"))[1] for node in (nodes.here, nodes.there)]
    with pytest.raises(NodesUnavailable):
        await nodes.here.hub.disconnect("tv")
    nodes.notes.let_all_go()
    assert [writer.closed for writer in writers] == [("disconnected", False)] * 2


async def test_a_node_that_has_not_said_yet_that_it_lives_counts_if_it_answers_in_time(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answered_meanwhile() -> list[NodeReport]:
        nodes.notes.let_all_go()
        return []

    monkeypatch.setattr(nodes.here.container.shared().presence, "nodes", answered_meanwhile)
    await nodes.there.open(client_id="tv")
    assert await nodes.here.hub.disconnect("tv") == 1


async def test_who_may_come_back_is_turned_away_no_longer(nodes: Nodes) -> None:
    await nodes.report()
    await disconnect(nodes, client_id="tv")
    asked = asyncio.create_task(nodes.here.hub.disconnect("tv", reconnect=True))
    await nodes.notes.until(1)
    nodes.notes.let_all_go()
    assert await asked == 0
    assert not any(node.hub.dismissed("tv", None) for node in (nodes.here, nodes.there))


async def test_whoever_gives_up_asking_leaves_nothing_behind_and_an_answer_changes_nothing(nodes: Nodes) -> None:
    await nodes.report()
    await nodes.there.open(client_id="tv")
    asked = asyncio.create_task(nodes.here.hub.disconnect("tv"))
    await nodes.notes.until(1)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    nodes.notes.let_all_go()
    assert not nodes.here.container.questions()._asking
    assert await disconnect(nodes, client_id="tv") == 0, "it was done all the same"


async def test_no_more_commands_are_remembered_than_may_be(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_app.disconnecting.REMEMBERED", 3)
    await nodes.report()
    for number in range(5):
        await disconnect(nodes, client_id=f"tv-{number}")
    assert len(nodes.there.container.disconnections()._done) == 3
    nodes.clock.advance(DISMISSAL_SECONDS)
    await disconnect(nodes, client_id="tv")
    assert len(nodes.here.container.disconnections()._dismissed) == 1
