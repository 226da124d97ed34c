"""Who is connected where: what a node says of itself, and what all nodes then know."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import pytest

from sse_app.connection import Connection
from sse_domain.errors import NodesUnavailable
from sse_domain.presence import ClientInfo, NodeReport
from tests.unit.app.two_nodes import Nodes, two_nodes


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    async with two_nodes() as nodes:
        yield nodes


async def test_everyone_is_seen_from_every_node(nodes: Nodes) -> None:
    await nodes.here.open(user_id="ada", client_id="phone", groups=("lobby",))
    nodes.clock.advance(1)
    await nodes.there.open(user_id="ada", client_id="desk")
    nodes.clock.advance(1)
    await nodes.there.open(user_id="bob", client_id="tv", groups=("lobby",))
    await nodes.there.hub.subscribe("ada", "team")
    await nodes.settle()
    await nodes.report()
    for node in (nodes.here.hub, nodes.there.hub):
        [ada, bob, eve] = await node.online(["ada", "bob", "eve"])
        assert (ada.connections, bob.connections, eve.online) == (2, 1, False)
        assert ada.last_seen == nodes.clock.now()
        assert [client.client_id for client in await node.clients(None, 10)] == ["phone", "desk", "tv"]
        assert [client.client_id for client in await node.clients(None, 2)] == ["phone", "desk"]
        assert [client.client_id for client in await node.clients("bob", 10)] == ["tv"]
        lobby = await node.group("lobby")
        assert (lobby.clients, lobby.users) == (["phone", "tv"], ["ada", "bob"])
        assert (await node.group("team")).clients == ["desk", "phone"]
        info = await node.info()
        assert (info.connections, info.clients, info.users, info.groups) == (3, 3, 2, 2)
        assert [each.node_id for each in info.nodes] == ["here", "there"]


async def test_a_node_that_says_nothing_for_a_lease_is_gone_and_comes_back_whole(nodes: Nodes) -> None:
    await nodes.there.open(user_id="bob", client_id="tv")
    await nodes.report()
    nodes.clock.advance(nodes.here.container.presence().lease_seconds)
    assert await nodes.here.hub.clients(None, 10) == []
    await nodes.report()
    assert [client.client_id for client in await nodes.here.hub.clients(None, 10)] == ["tv"]


async def test_who_has_left_elsewhere_is_gone(nodes: Nodes) -> None:
    connection, _ = await nodes.there.open(user_id="bob")
    await nodes.report()
    connection.leave()
    await nodes.report()
    assert (await nodes.here.hub.online(["bob"]))[0].online is False


# What is said, whatever comes between


async def seen(nodes: Nodes) -> list[str]:
    """The clients that the other node has, as this one sees it."""
    return [client.client_id for client in await nodes.here.hub.clients(None, 100)]


@contextmanager
def when_saying(nodes: Nodes, happens: Callable[[int], Awaitable[object]], at_once: int = 1000) -> Iterator[None]:
    """Before what the other node says is kept, this happens; it is given how often that was before."""
    presence = nodes.there.container.shared().presence
    change, said = presence.change, count()

    async def overtaken(opened: Sequence[ClientInfo], closed: Sequence[str]) -> None:
        await happens(next(said))
        await change(opened, closed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presence, "change", overtaken)
        patch.setattr("sse_app.presence.CHANGES_AT_ONCE", at_once)
        yield


async def open_clients(nodes: Nodes, *client_ids: str) -> list[Connection]:
    opened = []
    for client_id in client_ids:
        opened.append((await nodes.there.open(client_id=client_id))[0])
        nodes.clock.advance(0.001)
    return opened


@pytest.mark.parametrize("failure", [NodesUnavailable("gone"), ValueError("a bug")])
async def test_what_was_not_said_when_it_failed_is_said_the_next_time(nodes: Nodes, failure: Exception) -> None:
    await check_failure(nodes, failure)


async def check_failure(nodes: Nodes, failure: Exception | None = None) -> None:
    failure = failure or ValueError("a bug")
    gone = await open_clients(nodes, "a", "b", "c")
    await nodes.report()
    for connection in gone:
        connection.leave()
    await open_clients(nodes, "d", "e", "f")

    async def fails_the_second_time(said: int) -> None:
        if said == 1:
            raise failure

    with when_saying(nodes, fails_the_second_time, at_once=1), pytest.raises(type(failure)):
        await nodes.report()
    assert await seen(nodes) == ["b", "c", "d"]
    await nodes.report()
    assert await seen(nodes) == ["d", "e", "f"]


async def test_who_leaves_while_it_is_said_to_be_there_is_gone_after_that(nodes: Nodes) -> None:
    leaving, _ = await open_clients(nodes, "leaving", "staying")

    async def leave(_: int) -> None:
        leaving.leave()

    with when_saying(nodes, leave):
        await nodes.report()
    await nodes.report()
    assert await seen(nodes) == ["staying"]


async def test_who_leaves_while_that_fails_is_not_said_to_be_there_the_next_time(nodes: Nodes) -> None:
    await nodes.report()
    leaving, _ = await open_clients(nodes, "leaving", "staying")

    async def leave_and_fail(said: int) -> None:
        if said == 0:
            leaving.leave()
            raise NodesUnavailable("gone")

    with when_saying(nodes, leave_and_fail, at_once=1):
        with pytest.raises(NodesUnavailable):
            await nodes.report()
        await nodes.report()
    assert await seen(nodes) == ["staying"]


async def test_more_who_have_left_than_is_remembered_are_gone_all_the_same(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sse_app.presence.MAX_GONE", 2)
    *leaving, _ = await open_clients(nodes, "a", "b", "c", "d", "staying")
    await nodes.report()
    for connection in leaving:
        connection.leave()
    await nodes.report()
    assert await seen(nodes) == ["staying"]


async def test_however_many_come_and_go_meanwhile_the_lease_is_renewed_in_time(nodes: Nodes) -> None:
    await open_clients(nodes, "first", "second")

    async def come_and_go(said: int) -> None:
        assert said < 10, "goes on saying as long as there is something to say"
        [left] = await open_clients(nodes, "passing")
        left.leave()
        await open_clients(nodes, f"new-{said}")

    with when_saying(nodes, come_and_go, at_once=1):
        await nodes.report()
    assert (await seen(nodes))[:2] == ["first", "second"]


async def test_everything_is_said_again_when_it_was_not_heard_that_it_must_be(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, _ = await open_clients(nodes, "gone", "staying")
    await nodes.report()
    presence = nodes.there.container.shared().presence
    renew = presence.renew

    async def answer_is_lost(report: NodeReport, lease_seconds: float) -> bool:
        await renew(report, lease_seconds)
        raise NodesUnavailable("its answer is lost")

    nodes.clock.advance(nodes.there.container.presence().lease_seconds)
    with monkeypatch.context() as patch:
        patch.setattr(presence, "renew", answer_is_lost)
        with pytest.raises(NodesUnavailable):
            await nodes.report()
    gone.leave()
    await nodes.report()
    assert await seen(nodes) == ["staying"]


async def test_what_is_joined_or_left_is_said_of_every_stream_of_the_user(nodes: Nodes) -> None:
    await nodes.there.open(user_id="ada")
    nodes.clock.advance(1)
    await nodes.there.open(user_id="ada", groups=("lobby",))
    await nodes.report()
    await nodes.there.hub.subscribe("ada", "team")
    await nodes.report()
    assert [client.groups for client in await nodes.here.hub.clients(None, 10)] == [["team"], ["lobby", "team"]]
    await nodes.there.hub.unsubscribe("ada", "team")
    await nodes.report()
    assert [client.groups for client in await nodes.here.hub.clients(None, 10)] == [[], ["lobby"]]


async def test_a_node_that_stops_is_gone_at_once(nodes: Nodes) -> None:
    await open_clients(nodes, "a")
    await nodes.report()
    parts = nodes.there.container
    await parts.presence().leave(parts.overview().report())
    assert await seen(nodes) == []
    assert [node.node_id for node in (await nodes.here.hub.info()).nodes] == ["here"]


async def test_while_the_others_cannot_be_asked_the_rest_is_answered(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await nodes.here.open(user_id="ada", groups=("lobby",))
    await open_clients(nodes, "elsewhere")
    await nodes.report()

    async def fail(*_: object) -> None:
        raise NodesUnavailable("gone")

    for name in ("nodes", "users", "clients", "group", "audiences"):
        monkeypatch.setattr(nodes.here.container.shared().presence, name, fail)
    info = await nodes.here.hub.info()
    assert (info.connections, info.clients, info.users, info.groups) == (1, 1, 1, 1)
    assert info.bus["healthy"] is False
    for asked in (nodes.here.hub.clients(None, 10), nodes.here.hub.online(["ada"]), nodes.here.hub.group("lobby")):
        with pytest.raises(NodesUnavailable):
            await asked
