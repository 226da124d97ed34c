"""SPEC §3–§4 under every interleaving Hypothesis can think of: the domain against the naive model.

The rules only say what happens; what must hold is said in model.py (per message given, and once drained) and in
world.py (per frame, per offer, per page).
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sse_domain.delivery import State
from sse_domain.message import BROADCAST, Draft, Priority, Receiver, ReceiverType
from tests.unit.domain.model import Identity
from tests.unit.domain.profile import MACHINE
from tests.unit.domain.store import draft
from tests.unit.domain.world import Reader, World

USERS = ("ana", "ben")
GROUPS = ("red", "blue")
DEVICES = (("ana-phone", "ana"), ("ana-desk", "ana"), ("ben-phone", "ben"), ("kiosk", None))
# Many are for everyone, so that streams have much in common and caps are reached.
RECEIVERS = (
    *[BROADCAST] * 6,
    *(Receiver(ReceiverType.USER, user) for user in USERS),
    *(Receiver(ReceiverType.GROUP, group) for group in GROUPS * 2),
    *(Receiver(ReceiverType.CLIENT, device) for device, _ in DEVICES),
)
MAX_READERS = 3
MAX_SENT = 100

drafts = st.builds(
    draft,
    st.sampled_from(RECEIVERS),
    priority=st.sampled_from(Priority),
    persist=st.sampled_from((True, True, True, False)),
    ttl=st.sampled_from((None, None, None, 1, 2)),
    event_type=st.sampled_from(("a", "a", "b")),
    data=st.sampled_from((b"1", b"1", b'"twenty bytes of it."')),
)
identities = st.builds(
    lambda device, groups, types: Identity(device[0], device[1], groups, types),
    st.sampled_from(DEVICES),
    st.sampled_from((frozenset[str](), frozenset({"red"}), frozenset(GROUPS))),
    st.sampled_from((None, None, frozenset({"a"}))),
)
distances = st.tuples(*[st.integers(0, 12)] * 3)
which = st.integers(0, MAX_READERS - 1)
memberships = st.tuples(st.sampled_from(USERS), st.sampled_from(GROUPS))


def not_level(reader: Reader) -> bool:
    return reader.delivery is not None and not reader.delivery.level


def is_behind(reader: Reader) -> bool:
    return reader.delivery is not None and reader.delivery.state is not State.LIVE


def has_frames(reader: Reader) -> bool:
    return len(reader.frames) > 1


class DeliveryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def _online(
        self, index: int, act: Callable[[Reader], object], likely: Callable[[Reader], bool] = lambda _: True
    ) -> None:
        """Act on a reader with a connection, if there is one; on one where something is likely to come of it."""
        online = [reader for reader in self.world.readers if reader.delivery is not None]
        chosen = [reader for reader in online if likely(reader)] or online
        if chosen:
            act(chosen[index % len(chosen)])

    @initialize(identity=identities, history=st.lists(drafts, max_size=10), behind=distances)
    def begin(self, identity: Identity, history: list[Draft], behind: tuple[int, int, int]) -> None:
        self.world.join("ana", "red", None)
        self.world.join("ben", "blue", ("a",))
        for one in history:
            self.world.publish(one)
        self.world.open(identity, behind).blocked = True

    @precondition(lambda self: len(self.world.readers) < MAX_READERS)
    @rule(identity=identities, behind=st.one_of(st.none(), distances), blocked=st.booleans())
    def open(self, identity: Identity, behind: tuple[int, int, int] | None, blocked: bool) -> None:
        self.world.open(identity, behind).blocked = blocked

    @precondition(lambda self: self.world.store.sent < MAX_SENT)
    @rule(burst=st.lists(drafts, min_size=1, max_size=8), apply=st.sampled_from((True, True, True, False)))
    def publish(self, burst: list[Draft], apply: bool) -> None:
        for one in burst:
            self.world.publish(one, apply=apply)

    @precondition(lambda self: self.world.store.sent < MAX_SENT)
    @rule(first=drafts, count=st.integers(2, 5))
    def publish_many_alike(self, first: Draft, count: int) -> None:
        for _ in range(count):
            self.world.publish(first)

    @rule(index=which, limit=st.sampled_from((1, 1, 2, 8)), max_bytes=st.sampled_from((1, 1000)))
    def pull(self, index: int, limit: int, max_bytes: int) -> None:
        self._online(index, lambda reader: self.world.pull(reader, limit, max_bytes), not_level)

    @rule(index=which, blocked=st.sampled_from((True, True, False)))
    def stall(self, index: int, blocked: bool) -> None:
        self._online(index, lambda reader: setattr(reader, "blocked", blocked))

    @rule(index=which)
    def heartbeat(self, index: int) -> None:
        self._online(index, self.world.stand)

    @rule(index=which, fate=st.sampled_from(("ask", "find", "answer", "answer", "fail")))
    def read_the_log(self, index: int, fate: str) -> None:
        """A read begins, unless one is running; and comes this far."""
        steps = {"ask": self.world.ask, "find": self.world.find, "answer": self.world.answer, "fail": self.world.fail}
        self._online(index, lambda reader: (self.world.ask(reader), steps[fate](reader)), is_behind)

    @rule(index=which, frames_lost=st.sampled_from((0, 0, 1, 2, 3, 8)))
    def cut(self, index: int, frames_lost: int) -> None:
        self._online(index, lambda reader: self.world.cut(reader, frames_lost), has_frames)

    @precondition(lambda self: any(reader.delivery is None for reader in self.world.readers))
    @rule(index=which, blocked=st.sampled_from((True, True, False)))
    def resume(self, index: int, blocked: bool) -> None:
        away = [reader for reader in self.world.readers if reader.delivery is None]
        self.world.resume(away[index % len(away)]).blocked = blocked

    @rule(of=memberships, types=st.sampled_from((None, None, ("a",), ("a", "b"))))
    def join(self, of: tuple[str, str], types: tuple[str, ...] | None) -> None:
        self.world.join(*of, types)

    @rule(of=memberships)
    def leave(self, of: tuple[str, str]) -> None:
        self.world.leave(*of)

    @rule(user=st.sampled_from(USERS), latest=st.lists(st.integers(0, 12), max_size=4))
    def mark_read(self, user: str, latest: list[int]) -> None:
        self.world.mark_read(user, [len(self.world.store.log) - distance for distance in latest])

    @rule(seconds=st.integers(0, 1))
    def pass_time(self, seconds: int) -> None:
        self.world.catch_up()
        self.world.store.pass_time(seconds)

    @rule(spare=st.integers(4, 30))
    def purge(self, spare: int) -> None:
        self.world.purge(spare)

    @invariant()
    def bounded(self) -> None:
        self.world.check_bounds()

    def teardown(self) -> None:
        """The load stops, everyone comes back and drains, nothing is left owing, and each frame resumes exactly."""
        self.world.catch_up()
        for reader in self.world.readers:
            if reader.delivery is not None:
                self.world.drain(reader)
        for reader in tuple(self.world.readers):
            if reader.delivery is None:
                self.world.drain(self.world.resume(reader))
        for reader in self.world.readers:
            self.world.check_resume_from_every_frame(reader)
        self.world.store.check_inboxes()


TestDelivery = DeliveryMachine.TestCase
TestDelivery.settings = MACHINE
