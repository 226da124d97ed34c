"""What must hold when the load has stopped and every reader takes all that comes."""

from __future__ import annotations

from sse_domain.cursor import Positions
from sse_domain.delivery import State
from sse_domain.inbox import InboxQuery, StatusFilter, count_unread
from tests.unit.app.node_world import NodeWorld
from tests.unit.app.watched_stream import WatchedStream

ROUNDS = 50  # of the sweep, until every stream is level
FRAMES_TRIED = 6


def check_level(world: NodeWorld) -> list[WatchedStream]:
    """Let everyone take all there is: then every stream is level with the log, and with the model. The open ones."""
    _drain(world)
    streams = [stream for stream in world.streams if stream.is_open]
    for stream in streams:
        _check_level(world, stream)
    _check_told(world, streams)
    _check_inboxes(world)
    return streams


def check_drained(world: NodeWorld) -> None:
    check_level(world)
    world.clock.advance(10)  # beyond every expiry
    streams = check_level(world)
    for stream in streams:
        _check_any_frame_resumes(world, stream)
    _check_nothing_is_left(world)


def _drain(world: NodeWorld) -> None:
    world.settle()
    for _ in range(ROUNDS):
        _tick(world, "catch_up", "unread", "ledger")
        for stream in world.streams:
            if stream.is_open:
                world.do(stream.release)
        _tick(world, "sweep")
        if all(stream.connection.delivery.level for stream in world.streams if stream.is_open and stream.connection):
            return
    raise AssertionError("a stream does not become level")


def _tick(world: NodeWorld, *jobs: str) -> None:
    for job in jobs:
        world.tick(job)
        world.settle()


def _check_level(world: NodeWorld, stream: WatchedStream) -> None:
    assert stream.connection is not None
    delivery = stream.connection.delivery
    assert world.head == len(world.log)
    assert delivery.state is State.LIVE
    assert delivery.positions(world.head) == Positions.level(world.head)
    stream.known.check_drained(world.log, world.memberships, world.clock.now(), delivery.dropped)


def _check_told(world: NodeWorld, streams: list[WatchedStream]) -> None:
    """SPEC §4: the counts that a stream was told last are those of a brute-force count, now."""
    for stream in streams:
        if stream.request.unread and stream.request.user_id is not None:
            counts = count_unread(world.unread_of(stream.request.user_id))
            assert stream.told == counts.payload(stream.request.user_id)


def _check_inboxes(world: NodeWorld) -> None:
    """SPEC §4: what is pending is what no unfiltered stream of the user was given."""
    for user_id in ("ana", "ben"):
        furthest = world.furthest.get(f"user {user_id}", [0, 0, 0])
        pending = [m.seq for m in world.unread_of(user_id) if (m.seq or 0) > furthest[m.priority]]
        listed: list[int | None] = []
        query = InboxQuery(user_id=user_id, status=StatusFilter.PENDING)

        async def ask(query: InboxQuery = query, listed: list[int | None] = listed) -> None:
            listed += [entry.message.seq for entry in (await world.service.messages(query)).entries]

        world.spawn(ask())
        world.settle()
        assert listed == pending


def _check_any_frame_resumes(world: NodeWorld, stream: WatchedStream) -> None:
    """SPEC §3.3: of some frames from the first to the last, and of some heartbeats."""
    last = len(stream.frames) - 1
    tried = {last * part // FRAMES_TRIED for part in range(FRAMES_TRIED + 1)}
    tried.update([index for index, frame in enumerate(stream.frames) if frame.stands][:FRAMES_TRIED])
    for index in sorted(tried):
        again = stream.come_back(frames_lost=last - index)
        _drain(world)
        _check_level(world, again)
        world.do(again.cut)


def _check_nothing_is_left(world: NodeWorld) -> None:
    """SPEC §3.10: whoever has left, and whoever never came to be opened, costs nothing."""
    for stream in world.streams:
        world.do(stream.cut)
    _tick(world, "unread", "ledger")
    hub, unread, ledger = world.hub, world.node.unread(), world.node.ledger()
    left = [hub.connections, hub.users, hub.clients, hub.groups, hub.flow._waiting, world.node.heartbeat()._due]
    assert not any([*left, unread._watched, unread._changed, ledger._due])
    assert hub.flow.budget.used == 0
