"""What happens to the nodes of a hub, at random but the same for the same seed: who sends, opens, stalls, leaves, what
the store lets through meanwhile, and which notes between the nodes are heard. What must hold is not said here, but
where it is seen: watched_stream.py, watched_node.py, drained.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container
from dataclasses import replace
from typing import Any, NamedTuple

from sse_domain.cursor import encode_level
from sse_domain.message import BROADCAST, Draft, Priority, Receiver, ReceiverType
from sse_domain.replay import ReplayMode, StreamRequest
from tests.unit.app.drained import check_level
from tests.unit.app.gates import EPOCH
from tests.unit.app.hub_world import HubWorld
from tests.unit.app.watched_node import WatchedNode
from tests.unit.app.watched_stream import WatchedStream
from tests.unit.domain.model import Identity, Witness

USERS = ("ana", "ben")
GROUPS = ("red", "blue")
DEVICES = (("phone", "ana"), (None, "ana"), ("desk", "ben"), (None, "ben"), ("kiosk", None), (None, None))
# Many are for everyone, so that streams have much in common and caps are reached.
RECEIVERS = (
    *[BROADCAST] * 3,
    *(Receiver(ReceiverType.USER, user) for user in USERS),
    *(Receiver(ReceiverType.GROUP, group) for group in GROUPS * 3),
    *(Receiver(ReceiverType.CLIENT, device) for device in ("phone", "kiosk")),
)
JOBS = ("beat", "beat", "sweep", "sweep", "unread", "unread", "ledger", "ledger", "janitor", "presence", "presence")
# Of the store, together, for a while: mostly none, the reads of the log, or nearly all there is.
FAILURES: tuple[Container[str], ...] = (
    (),
    (),
    (),
    ("replay",),
    ("read", "replay"),
    ("append", "find", "head", "unread"),
    ("changed_since", "read", "change", "renew"),
)
MAX_OPEN = 4  # and one more a node
MAX_SENT = 150


class Weather(NamedTuple):
    """How likely a note is to come out of turn, twice, or not at all."""

    late: float
    doubled: float
    lost: float


FINE, ROUGH, STORM, SILENCE = Weather(0, 0, 0), Weather(0.4, 0.2, 0), Weather(0.5, 0.2, 0.4), Weather(0, 0, 1)


class RandomHistory:
    """`nothing_lost`: the store never fails and every note is heard in the end, so no node looks at the log by itself,
    and it is enough all the same."""

    def __init__(self, seed: int, *, nodes: int = 1, nothing_lost: bool = False) -> None:
        self.world = HubWorld(nodes, nothing_lost=nothing_lost)
        self._random = random.Random(seed)
        self._failing: Container[str] = ()  # calls, for a while
        self._max_open = MAX_OPEN + nodes
        self._nothing_lost = nothing_lost
        self._weather = FINE
        self._cached: dict[str, Any] = {}
        self._jobs = JOBS if nothing_lost else (*JOBS, "catch_up", "marks") if nodes > 1 else (*JOBS, "catch_up")

    def run(self, happenings: int) -> None:
        """A busy time, and then one in which little comes to cover up what went wrong."""
        busy = {
            self.send: 12,
            self.commit_elsewhere: 4,
            self.open: 7,
            self.come_back: 6,
            self.come_from_elsewhere: 1,
            self.cut: 2,
            self.cut_while_it_opens: 1,
            self.stall: 6,
            self.take_again: 6,
            self.join: 5,
            self.leave: 4,
            self.mark_read: 3,
            self.mark_all_read: 3,
            self.tick: 12,
            self.pass_time: 2,
            self.wait_long: 1,
            self.miss: 1,
            self.set_cache_back: 1,
            self.take_stock: 1,
        }
        calm = {
            self.send: 2,
            self.open: 2,
            self.mark_read: 1,
            self.mark_all_read: 2,
            self.leave: 1,
            self.stall: 2,
            self.take_again: 2,
            self.tick: 4,
        }
        self._happen([self.join, self.send, self.take_stock, self.open])
        self._happen(self._some_of(busy, happenings))
        self._happen(self._some_of(calm, happenings // 4))

    def _some_of(self, weights: dict[Callable[[], None], int], number: int) -> list[Callable[[], None]]:
        return self._random.choices(list(weights), list(weights.values()), k=number)

    def _happen(self, happenings: list[Callable[[], None]]) -> None:
        for happens in happenings:
            happens()
            self.world.turn(self._random.randrange(2))
            self._store_goes_on()
            self._notes_go_on()
            self.world.seconds += self._random.choice((0, 0.005, 0.03))

    def _store_goes_on(self) -> None:
        """With some of what it was asked, in whatever order, or it fails; between them the loop runs a few turns."""
        for _ in range(self._random.choice((0, 1, 3, 6, 10))):
            waiting = len(self.world.gates.waiting)
            if waiting:
                fails = not self._nothing_lost and self._chance(0.06)
                self.world.gates.let_go(self._random.randrange(waiting), fail=fails)
            self.world.turn(self._random.randrange(4))
        if self._chance(0.2) and not self._nothing_lost:
            self._failing = self._random.choice(FAILURES)
        self.world.gates.fail(self._failing)

    def _notes_go_on(self) -> None:
        """Some are heard, as the weather is."""
        waiting = self.world.notes.waiting
        for _ in range(self._random.choice((0, 1, 2, 4, 8))):
            if not waiting:
                break
            index = self._random.randrange(len(waiting)) if self._chance(self._weather.late) else 0
            held = waiting[index] if self._chance(self._weather.doubled) else waiting.pop(index)
            if not self._chance(self._weather.lost):
                self.world.node(held.to).hear(held)
        if self._chance(0.1):
            self._weather = self._random.choice((FINE, ROUGH) if self._nothing_lost else (FINE, ROUGH, STORM, SILENCE))

    # Publishers.

    def send(self) -> None:
        burst = self._burst()
        if self._chance(0.6):  # named, so that they can be sent again
            burst = [replace(draft, event_id=f"e{self.world.sent + number}") for number, draft in enumerate(burst)]
        self.world.send(self._node(), burst)

    def commit_elsewhere(self) -> None:
        """And perhaps has changed a membership just before."""
        drafts = [replace(draft, persist=True) for draft in self._burst()]
        if self._chance(0.5):
            user, group = self._random.choice(USERS), self._random.choice(GROUPS)
            if self._chance(0.6):
                self.world.join_elsewhere(user, group, self._types())
            else:
                self.world.leave_elsewhere(user, group)
            drafts = [replace(draft, receiver=Receiver(ReceiverType.GROUP, group)) for draft in drafts]
        self.world.commit_elsewhere(drafts, told_whole=self._chance(0.8))

    def _burst(self) -> list[Draft]:
        if self.world.sent >= MAX_SENT:
            return []
        return [self._draft() for _ in range(self._random.choice((1, 1, 2, 3, 5, 8)))]

    def _draft(self) -> Draft:
        pick = self._random.choice
        return Draft(
            receiver=pick(RECEIVERS),
            event_type=pick("aab"),
            data=pick((b"1", b"1", b'"twenty bytes of it."')),
            persist=self._chance(0.75),
            priority=pick(tuple(Priority)),
            ttl=pick((None, None, None, None, 1, 3)),
        )

    # Readers.

    def open(self) -> None:
        if self._alive() >= self._max_open:
            return
        pick = self._random.choice
        client, user = pick(DEVICES)
        request = StreamRequest(
            client_id=client,
            user_id=user,
            groups=pick(((), (), ("red",), GROUPS)),
            event_types=pick((None, None, None, ("a",))),
            replay=pick((ReplayMode.PENDING, ReplayMode.PENDING, ReplayMode.UNREAD, ReplayMode.NONE)),
            unread=self._chance(0.5),
        )
        self.world.open(self._node(), _who(request), request)

    def come_back(self) -> None:
        """With the id of any frame; and perhaps the node has not noticed yet that the reader was away."""
        stream = self._one_of(lambda stream: len(stream.frames) > 1)
        if stream is not None:
            if self._chance(0.7) or self._alive() >= self._max_open:
                self.world.do(stream.cut)
            stream.come_back(self._node(), frames_lost=self._random.choice((0, 0, 1, 2, 4, 8)))

    def come_from_elsewhere(self) -> None:
        """With the id of another process's stream, which knows the log to its end."""
        if self._alive() < self._max_open:
            end = len(self.world.log)
            client, user = self._random.choice(DEVICES[:4])
            request = StreamRequest(client_id=client, user_id=user, cursor=encode_level(end, EPOCH))
            who, node = _who(request), self._node()
            self.world.open(node, who, request, Witness(who, (end, end, end), end, node.order, resumed=True))

    def cut(self) -> None:
        self._act(WatchedStream.cut, lambda stream: stream.is_open)

    def cut_while_it_opens(self) -> None:
        self._act(WatchedStream.cut, lambda stream: stream.opening is not None)

    def stall(self) -> None:
        room = self._random.choice((1, 1, 2, 3))
        self._act(lambda stream: stream.stall(room), lambda stream: stream.is_open)

    def take_again(self) -> None:
        self._act(WatchedStream.release, lambda stream: stream.is_open and stream.blocked)

    def _act(self, act: Callable[[WatchedStream], None], on: Callable[[WatchedStream], bool]) -> None:
        stream = self._one_of(on)
        if stream is not None:
            self.world.do(lambda: act(stream))

    def _one_of(self, likely: Callable[[WatchedStream], bool]) -> WatchedStream | None:
        chosen = [stream for stream in self.world.streams if likely(stream)]
        return self._random.choice(chosen) if chosen else None

    def _alive(self) -> int:
        return sum(not stream.closed for stream in self.world.streams)

    # What else there is.

    def join(self) -> None:
        group = self._random.choice(GROUPS)
        self._node().join(self._random.choice(USERS), group, self._types())
        if self._chance(0.5):  # while it joins
            draft = replace(self._draft(), receiver=Receiver(ReceiverType.GROUP, group), persist=True)
            self.world.send(self._node(), [draft])

    def leave(self) -> None:
        self._node().leave(self._random.choice(USERS), self._random.choice(GROUPS))

    def mark_read(self) -> None:
        latest = [message.event_id for message in self.world.log[-10:]]
        self._node().mark_read(self._random.choice(USERS), [name for name in latest if self._chance(0.3)])

    def mark_all_read(self) -> None:
        """Then there is nothing that a stream of the user would begin with, but for what nobody marks."""
        self._node().mark_read(self._random.choice(USERS), [message.event_id for message in self.world.log])

    def tick(self) -> None:
        self._node().tick(self._random.choice(self._jobs))

    def pass_time(self) -> None:
        self.world.clock.advance(self._random.choice((0.5, 1)))

    def wait_long(self) -> None:
        """For readers that take nothing to be given up."""
        self.world.clock.seconds += 60
        self._node().tick("sweep")

    def miss(self) -> None:
        self._node().miss()

    def set_cache_back(self) -> None:
        """To what it was once, or to nothing."""
        kept = self.world.unread_cache._kept
        before, self._cached = self._cached, kept.copy()
        kept.clear()
        if self._chance(0.7):
            kept.update(before)

    def take_stock(self) -> None:
        self._random.shuffle(self.world.notes.waiting)
        check_level(self.world)

    def _types(self) -> tuple[str, ...] | None:
        return self._random.choice((None, None, ("a",), ("a", "b")))

    def _node(self) -> WatchedNode:
        return self._random.choice(self.world.nodes)

    def _chance(self, of: float) -> bool:
        return self._random.random() < of


def _who(request: StreamRequest) -> Identity:
    types = None if request.event_types is None else frozenset(request.event_types)
    return Identity(request.client_id or "", request.user_id, frozenset(request.groups), types)
