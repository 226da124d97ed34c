"""What must hold when the load has stopped and every reader takes all that comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sse_domain.cursor import Positions
from sse_domain.delivery import State
from sse_domain.inbox import InboxQuery, StatusFilter, count_unread
from tests.unit.app.hub_world import HubWorld
from tests.unit.app.watched_node import WatchedNode
from tests.unit.app.watched_stream import WatchedStream

ROUNDS = 50  # of the sweep, until every stream is level
FRAMES_TRIED = 6
EVERYONE = 1000

T = TypeVar("T")


def check_level(world: HubWorld) -> list[WatchedStream]:
    """Let everyone take all there is: then every stream is level with the log, and with the model. The open ones.

    Where nothing was lost the nodes' notes suffice for that; else each node must look for itself, and what is left of
    the notes changes nothing.
    """
    _drain(world)
    streams = [stream for stream in world.streams if stream.is_open]
    for node in world.nodes:
        assert node.head == len(world.log)
        assert node.expected.keys() <= node.order.keys(), "§3.9: was passed on, and not handed out"
    for stream in streams:
        _check_level(world, stream)
    _check_told(world, streams)
    for node in world.nodes:
        _check_inboxes(world, node)
    return streams


def check_drained(world: HubWorld) -> None:
    check_level(world)
    world.hear_all_notes()
    world.clock.advance(10)  # beyond every expiry
    streams = check_level(world)
    _check_presence(world, streams)
    for number, stream in enumerate(streams):
        _check_any_frame_resumes(world, stream, number)
    _check_nothing_is_left(world)


def _drain(world: HubWorld) -> None:
    world.settle()
    for _ in range(ROUNDS):
        if world.nothing_lost:
            world.hear_all_notes()
            world.settle()
        else:
            _tick(world, "catch_up", *(["marks"] if len(world.nodes) > 1 else []))
        _tick(world, "unread")
        for stream in world.streams:
            if stream.is_open:
                world.do(stream.release)
        _tick(world, "sweep")
        if all(stream.connection.delivery.level for stream in world.streams if stream.is_open and stream.connection):
            _tick(world, "ledger")
            return
    raise AssertionError("a stream does not become level")


def _tick(world: HubWorld, *jobs: str) -> None:
    for job in jobs:
        for node in world.nodes:
            node.tick(job)
        world.settle()


def _check_level(world: HubWorld, stream: WatchedStream) -> None:
    assert stream.connection is not None
    delivery = stream.connection.delivery
    assert delivery.state is State.LIVE
    assert delivery.positions(stream.node.head) == Positions.level(stream.node.head)
    stream.known.check_drained(world.log, world.memberships.now, world.clock.now(), delivery.dropped)


def _check_told(world: HubWorld, streams: list[WatchedStream]) -> None:
    """SPEC §4: the counts that a stream was told last are those of a brute-force count, now."""
    for stream in streams:
        if stream.request.unread and stream.request.user_id is not None:
            counts = count_unread(world.unread_of(stream.request.user_id))
            assert stream.told == counts.payload(stream.request.user_id)


def _check_inboxes(world: HubWorld, node: WatchedNode) -> None:
    """SPEC §4: what is pending is what no unfiltered stream of the user was given."""
    for user_id in ("ana", "ben"):
        furthest = world.furthest.get(f"user {user_id}", [0, 0, 0])
        pending = [m.seq for m in world.unread_of(user_id) if (m.seq or 0) > furthest[m.priority]]
        query = InboxQuery(user_id=user_id, status=StatusFilter.PENDING)
        page = _answer(world, lambda query=query: node.service.messages(query))  # type: ignore[misc]
        assert [entry.message.seq for entry in page.entries] == pending


def _check_presence(world: HubWorld, streams: list[WatchedStream]) -> None:
    """SPEC §2, `/clients`: every node tells of every stream, and of its groups."""
    _tick(world, "presence")
    expected = {}
    for stream in streams:
        groups = world.memberships.now.get(stream.request.user_id or "", {}).keys() | stream.identity.url_groups
        expected[stream.connection_id] = sorted(groups)
    for node in world.nodes:
        clients = _answer(world, lambda node=node: node.service.clients(None, EVERYONE))  # type: ignore[misc]
        assert {client.connection_id: client.groups for client in clients} == expected
        assert len(clients) == len(expected)


def _answer(world: HubWorld, ask: Callable[[], Awaitable[T]]) -> T:
    answers: list[T] = []

    async def asked() -> None:
        answers.append(await ask())

    world.spawn(asked())
    world.settle()
    [answer] = answers
    return answer


def _check_any_frame_resumes(world: HubWorld, stream: WatchedStream, number: int) -> None:
    """SPEC §3.3: of some frames from the first to the last, and of some heartbeats; on any node."""
    last = len(stream.frames) - 1
    tried = {last * part // FRAMES_TRIED for part in range(FRAMES_TRIED + 1)}
    tried.update([index for index, frame in enumerate(stream.frames) if frame.stands][:FRAMES_TRIED])
    for index in sorted(tried):
        node = world.nodes[(index + number) % len(world.nodes)]
        again = stream.come_back(node, frames_lost=last - index)
        _drain(world)
        _check_level(world, again)
        world.do(again.cut)


def _check_nothing_is_left(world: HubWorld) -> None:
    """SPEC §3.10: whoever has left, and whoever never came to be opened, costs nothing; nor does what was heard."""
    for stream in world.streams:
        world.do(stream.cut)
    world.hear_all_notes()
    _tick(world, "catch_up", "unread", "ledger", "presence")
    for node in world.nodes:
        parts, hub = node.parts, node.hub
        flow, unread, hints, presence = hub.flow, parts.unread(), parts.feed()._hints, parts.presence()
        left: list[object] = [hub.connections, hub.users, hub.clients, hub.groups]
        left += [flow._to_read, flow.others, *flow.ready.values(), flow.waiting_reads, flow.readers, flow.budget.used]
        left += [unread._watched, unread._changed, parts.ledger()._due, parts.heartbeat()._due, parts.opener()._opening]
        left += [hints._messages, hints._data_bytes, presence._changed, presence._gone]
        left += [parts.fan_out()._waiting, parts.fan_out()._waiting_bytes]
        assert not any(left)
