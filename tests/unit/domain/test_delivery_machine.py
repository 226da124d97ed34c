"""SPEC §3–§4 under every interleaving Hypothesis can think of: the domain against the naive model.

The rules only say what happens; what must hold is said in model.py (per message given, and once drained) and in
world.py (per frame, per offer, per page).
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sse_domain.message import BROADCAST, Draft, Priority, Receiver, ReceiverType

from tests.unit.domain.model import Identity
from tests.unit.domain.profile import MACHINE
from tests.unit.domain.world import Reader, World, draft

USERS = ("ana", "ben")
GROUPS = ("red", "blue")
DEVICES = (("ana-phone", "ana"), ("ana-desk", "ana"), ("ben-phone", "ben"), ("kiosk", None))
# Many are for everyone, so that streams have much in common and caps are reached.
RECEIVERS = (
    *[BROADCAST] * 4,
    *(Receiver(ReceiverType.USER, user) for user in USERS),
    *(Receiver(ReceiverType.GROUP, group) for group in GROUPS),
    *(Receiver(ReceiverType.CLIENT, device) for device, _ in DEVICES),
)
MAX_READERS = 4
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


class DeliveryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def _reader(self, index: int, *, online: bool) -> Reader | None:
        fitting = [reader for reader in self.world.readers if (reader.delivery is not None) == online]
        return fitting[index % len(fitting)] if fitting else None

    def _online(self, index: int, act: Callable[[Reader], object]) -> None:
        reader = self._reader(index, online=True)
        if reader is not None:
            act(reader)

    @initialize(identity=identities)
    def first_reader(self, identity: Identity) -> None:
        self.world.open(identity)

    @precondition(lambda self: len(self.world.readers) < MAX_READERS)
    @rule(identity=identities, behind=st.one_of(st.none(), distances))
    def open(self, identity: Identity, behind: tuple[int, int, int] | None) -> None:
        self.world.open(identity, behind)

    @precondition(lambda self: self.world.sent < MAX_SENT)
    @rule(burst=st.lists(drafts, min_size=1, max_size=8), apply=st.sampled_from((True, True, True, False)))
    def publish(self, burst: list[Draft], apply: bool) -> None:
        for one in burst:
            self.world.publish(one, apply=apply)

    @precondition(lambda self: self.world.sent < MAX_SENT)
    @rule(first=drafts, count=st.integers(2, 6))
    def publish_many_alike(self, first: Draft, count: int) -> None:
        for _ in range(count):
            self.world.publish(first)

    @rule(index=which, limit=st.integers(1, 4), max_bytes=st.sampled_from((1, 30, 1000)))
    def pull(self, index: int, limit: int, max_bytes: int) -> None:
        self._online(index, lambda reader: self.world.pull(reader, limit, max_bytes))

    @rule(index=which, blocked=st.sampled_from((True, True, False)))
    def stall(self, index: int, blocked: bool) -> None:
        self._online(index, lambda reader: setattr(reader, "blocked", blocked))

    @rule(index=which)
    def heartbeat(self, index: int) -> None:
        self._online(index, self.world.stand)

    @rule(index=which)
    def ask_the_log(self, index: int) -> None:
        self._online(index, self.world.ask)

    @rule(index=which, fate=st.sampled_from(("find", "answer", "answer", "answer", "fail")))
    def the_log(self, index: int, fate: str) -> None:
        self._online(index, {"find": self.world.find, "answer": self.world.answer, "fail": self.world.fail}[fate])

    @rule(index=which, frames_lost=st.integers(0, 8))
    def cut(self, index: int, frames_lost: int) -> None:
        self._online(index, lambda reader: self.world.cut(reader, frames_lost))

    @rule(index=which)
    def resume(self, index: int) -> None:
        reader = self._reader(index, online=False)
        if reader is not None:
            self.world.resume(reader)

    @rule(of=memberships, types=st.sampled_from((None, None, ("a",), ("a", "b"))))
    def join(self, of: tuple[str, str], types: tuple[str, ...] | None) -> None:
        self.world.join(*of, types)

    @rule(of=memberships)
    def leave(self, of: tuple[str, str]) -> None:
        self.world.leave(*of)

    @rule(user=st.sampled_from(USERS), latest=st.lists(st.integers(0, 12), max_size=4))
    def mark_read(self, user: str, latest: list[int]) -> None:
        self.world.mark_read(user, [len(self.world.log) - distance for distance in latest])

    @rule(seconds=st.integers(0, 1))
    def pass_time(self, seconds: int) -> None:
        self.world.catch_up()
        self.world.pass_time(seconds)

    @rule(spare=st.integers(4, 30))
    def purge(self, spare: int) -> None:
        self.world.purge(spare)

    @rule(index=which)
    def drain(self, index: int) -> None:
        self._online(index, self.world.drain)
        self.world.check_inboxes()

    @invariant()
    def bounded(self) -> None:
        self.world.check_bounds()

    def teardown(self) -> None:
        """Everyone comes back, the load stops, and nothing is left owing."""
        for reader in tuple(self.world.readers):
            if reader.delivery is None:
                self.world.resume(reader)
        self.world.catch_up()
        for reader in self.world.readers:
            self.world.drain(reader)
        self.world.check_inboxes()


TestDelivery = DeliveryMachine.TestCase
TestDelivery.settings = MACHINE
