"""One node of the hub: the real parts over a gated store, and what is seen of what they do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from sse_domain.errors import NodesUnavailable, Unavailable
from sse_domain.message import Message, Priority
from sse_domain.notes import Passing
from tests.unit.app.gates import GatedStore, gated
from tests.unit.app.held_notes import Held, HeldShared
from tests.unit.app.membership_history import Knowledge
from tests.unit.app.small_node import WatchedHub, build_node
from tests.unit.app.turns import Rest
from tests.unit.domain.model import Witness

if TYPE_CHECKING:
    from tests.unit.app.hub_world import HubWorld


class WatchedNode:
    def __init__(self, world: HubWorld, node_id: str) -> None:
        self.node_id = node_id
        self.order: dict[str, int] = {}  # of every message, by event id: when this node handed it out
        self.knowledge = Knowledge()  # of memberships
        # By user and by named client: per priority, the furthest that its unfiltered streams were given by this node.
        self.furthest: dict[str, list[int]] = {}
        self.expected: dict[str, Message] = {}  # ephemeral messages that others have passed on to it in order
        self.changes: dict[tuple[str, str], int] = {}  # memberships that it has changed itself, and when
        self._world = world
        self._jobs: dict[str, object] = {}
        self._heard: dict[str, int] = {}  # the last note with ephemeral messages, by who told it
        self._passed: dict[tuple[str, Priority], int] = {}  # the last of them handed out, by who took it
        store = GatedStore(world.store, world.gates, lambda *done: world.store_did(self, *done))
        shared = HeldShared(node_id, world.notes, world.board, world.clock)
        shared.presence = gated(shared.presence, world.gates, lambda *_: None, NodesUnavailable)
        shared.unread_cache = gated(world.unread_cache, world.gates, lambda *_: None, None)
        self.parts = build_node(node_id, world.clock, store, shared)
        self.service = self.parts.service()
        self.hub = self.parts.hub()
        assert isinstance(self.hub, WatchedHub)
        self.hub.published = lambda messages: world.watch(lambda: self._published(messages))
        world.spawn(self._start())
        follower = self.parts.follower()
        follower._woken = rest = Rest()
        world.stand(follower.run(), rest)

    async def _start(self) -> None:
        await self.parts.feed().start()
        await self.parts.cluster().start()

    @property
    def head(self) -> int:
        """Where its feed stands."""
        return self.hub.flow.head.seq

    @property
    def applied(self) -> list[Message]:
        return self._world.log[: self.head]

    def _published(self, messages: Sequence[Message]) -> None:
        world = self._world
        for message in messages:
            assert message.event_id not in self.order, "handed out twice"
            self.order[message.event_id] = len(self.order)
            if message.seq is not None:
                self.knowledge.learns(world.version_at[message.seq - 1])
                continue
            self._check_passed(message)
            for stream in world.streams:
                if stream.node is self and stream.is_open:
                    self._passes_by(message, stream.known)

    def _check_passed(self, message: Message) -> None:
        """SPEC §3.9: at most once, and in the order in which the node took it that it was sent to."""
        taker, place = self._world.taken[message.event_id]
        assert taker == self.node_id or message.event_id in self.expected, "from a note that was not to be taken"
        before = self._passed.get((taker, message.priority), -1)
        assert before < place, "§3.9: out of order"
        self._passed[taker, message.priority] = place

    def _passes_by(self, message: Message, witness: Witness) -> None:
        if message.expired(self._world.clock.now()):
            return
        seen = self._world.memberships.seen_by(self.knowledge, witness.identity.user_id, message.receiver.id)
        audience = [witness.is_audience(message, memberships, url_groups_from=0) for memberships in seen]
        if any(audience):
            witness.passed_by.append(message)
        if not all(audience):
            witness.excused.add(message.event_id)

    # What reaches it.

    def hear(self, held: Held) -> None:
        if isinstance(held.note, Passing) and held.number > self._heard.get(held.teller, 0):
            self._heard[held.teller] = held.number
            self.expected |= {message.event_id: message for message in held.note.messages}
        self._world.do(lambda: self._world.notes.hear(held))

    def miss(self) -> None:
        """Tell it that it may not have heard everything."""
        self._world.do(lambda: self._world.notes.missed(self.node_id))

    def join(self, user_id: str, group: str, event_types: tuple[str, ...] | None) -> None:
        self._change_membership(user_id, group, lambda: self.service.subscribe(user_id, group, event_types))

    def leave(self, user_id: str, group: str) -> None:
        self._change_membership(user_id, group, lambda: self.service.unsubscribe(user_id, group))

    def _change_membership(self, user_id: str, group: str, change: Callable[[], Awaitable[object]]) -> None:
        async def make() -> None:
            try:
                changed = await change()
            except Unavailable:
                return  # whether it was changed, the store knows
            if changed:  # what another node has left, this one may still have to learn of
                self.knowledge.made(user_id, group, self.changes[user_id, group])

        self._world.spawn(make())

    def mark_read(self, user_id: str, event_ids: Sequence[str]) -> None:
        async def mark() -> None:
            try:
                await self.service.mark_read(user_id, event_ids=event_ids)
            except Unavailable:
                return  # whether they were marked, the store knows

        self._world.spawn(mark())

    def tick(self, name: str) -> None:
        """One of the jobs that recur; never twice at a time."""
        if name in self._jobs:
            return
        parts = self.parts
        work: Callable[[], Awaitable[object]] = {
            "beat": parts.heartbeat().beat,
            "sweep": parts.heartbeat().sweep,
            "catch_up": self._catch_up,
            "marks": parts.unread().look_for_marks,
            "unread": parts.unread().flush,
            "ledger": parts.ledger().flush,
            "janitor": parts.janitor().run,
            "presence": lambda: parts.presence().run(parts.overview().report()),
        }[name]

        async def run() -> None:
            try:
                await work()
            except Unavailable:
                pass  # tried again on the next tick
            finally:
                del self._jobs[name]

        self._jobs[name] = self._world.spawn(run())

    async def _catch_up(self) -> None:
        version = self._world.memberships.version
        await self.parts.feed().catch_up()
        self.knowledge.learns(version)
