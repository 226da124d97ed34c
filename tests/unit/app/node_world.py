"""A node over a gated memory store, its readers, and what the naive model of SPEC §3–§4 knows of them.

The node's parts are the real ones. The test says which call of the store goes on or fails, how far the event loop runs,
and which reader takes what; so sends, openings, replays, memberships and marks overlap at each await.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from copy import deepcopy
from typing import Any

import pytest

from sse_domain.api import Receipt
from sse_domain.errors import Unavailable
from sse_domain.inbox import TheseSeqs
from sse_domain.message import Draft, Message
from sse_domain.ports import Appended, Entry, Outcome
from sse_domain.replay import StreamRequest
from tests.unit.app.conftest import FakeClock
from tests.unit.app.gates import GatedStore
from tests.unit.app.small_node import WatchedHub, build_node, make_small
from tests.unit.app.turns import Turns
from tests.unit.app.watched_stream import Asked, WatchedStream
from tests.unit.domain.model import Identity, Membership, Memberships, Witness, is_expired, is_visible


class NodeWorld(Turns):
    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.store = GatedStore(self.gates, self._store_did)
        self.streams: list[WatchedStream] = []
        self.log: list[Message] = []  # seq is index + 1
        self.order: dict[str, int] = {}  # of every message, by event id: when this node handed it out
        self.memberships: Memberships = {}
        self.memberships_before: Memberships = {}  # what they were, while a change is on its way to the streams
        self.read: dict[str, set[str]] = {}
        # By user and by named client: per priority, the furthest that its unfiltered streams were given.
        self.furthest: dict[str, list[int]] = {}
        self.sent = 0
        self._answered = 0  # the highest seq among the answers
        self._jobs: dict[str, object] = {}
        self._patch = pytest.MonkeyPatch()
        make_small(self._patch)
        self.node = build_node(self.clock, self.store)
        self.service = self.node.service()
        self.hub = self.node.hub()
        assert isinstance(self.hub, WatchedHub)
        self.hub.published = lambda messages: self.watch(lambda: self._published(messages))
        self.spawn(self.node.feed().start())
        self.settle()

    def close(self) -> None:
        super().close()
        self._patch.undo()

    # Publishing.

    @property
    def head(self) -> int:
        """Where the node's feed stands."""
        return self.hub.flow.head.seq

    @property
    def applied(self) -> list[Message]:
        return self.log[: self.head]

    def send(self, drafts: Sequence[Draft]) -> None:
        """A publisher sends a batch, and what it got no answer for once more, if that is safe."""
        self.sent += len(drafts)
        self.spawn(self._send(list(drafts)))

    async def _send(self, drafts: list[Draft]) -> None:
        while drafts:
            below = self._answered
            answers = await self.service.send_batch(drafts)
            for answer in answers:
                if isinstance(answer, Receipt):
                    self._check_answer(answer, below)
                else:
                    assert isinstance(answer, Unavailable), answer
            unanswered = [draft for draft, answer in zip(drafts, answers, strict=True) if isinstance(answer, Exception)]
            # One that has expired meanwhile may be removed, and then its id is known no more.
            drafts = [draft for draft in unanswered if draft.event_id is not None and draft.ttl is None]

    def _check_answer(self, receipt: Receipt, below: int) -> None:
        if receipt.seq is None:  # a persisted one is handed out later if the log can't be read just after its commit
            assert receipt.event_id in self.order, "answered, and never handed out"
        if receipt.seq is not None:
            assert self.log[receipt.seq - 1].event_id == receipt.event_id
            assert receipt.repeated or receipt.seq > below, "§3.8: sent after an answer, and ordered before it"
            self._answered = max(self._answered, receipt.seq)

    def commit_elsewhere(self, drafts: Sequence[Draft]) -> None:
        """Another process on the same database commits: this node learns of it by reading the log."""
        self.sent += len(drafts)
        entries = []
        for number, draft in enumerate(drafts):
            event_id = f"elsewhere-{self.sent}-{number}"
            entries.append(Entry(draft, event_id, may_repeat=False))
        self._appended(_at_once(self.store.real.log.append(entries, self.clock.now())).appended)

    def _appended(self, appended: Sequence[Appended]) -> None:
        new = [message for outcome, message in appended if outcome is Outcome.NEW]
        self.log += new
        for witness in self._witnesses():
            witness.excuse_if_not_audience(new, self.memberships)

    def _published(self, messages: Sequence[Message]) -> None:
        for message in messages:
            assert message.event_id not in self.order, "handed out twice"
            self.order[message.event_id] = len(self.order)
            if message.seq is None and not is_expired(message, self.clock.now()):
                for stream in self.streams:
                    if stream.is_open:
                        self._passes_by(message, stream.known)

    def _passes_by(self, message: Message, witness: Witness) -> None:
        now, before = (
            witness.is_audience(message, memberships, url_groups_from=0)
            for memberships in (self.memberships, self.memberships_before)
        )
        if now or before:
            witness.passed_by.append(message)
        if not (now and before):
            witness.excused.add(message.event_id)

    # Streams.

    def open(self, identity: Identity, request: StreamRequest, witness: Witness | None = None) -> WatchedStream:
        """A reader opens a stream. `witness` is what is known of it already, when it comes back."""
        asked = Asked(self.head, deepcopy(self.furthest), self.unread_of(identity.user_id))
        stream = WatchedStream(self, identity, request, witness, asked)
        self.streams.append(stream)
        stream.opening = self.spawn(self._open(stream))
        return stream

    async def _open(self, stream: WatchedStream) -> None:
        try:
            stream.connection = await self.service.open(stream.request, stream)
        except Unavailable:
            assert not stream.frames, "not opened, and yet written to"
        finally:
            stream.opening = None
            stream.closed |= stream.connection is None

    def begins(self, witness: Witness) -> None:
        """A stream without a past begins. What is not its own now it is not owed later."""
        witness.excuse_if_not_audience(self.log, self.memberships)
        self._excuse_read(witness)

    def given(self, stream: WatchedStream, message: Message) -> None:
        witness = stream.known
        allowed = witness.allows(message, self.memberships)
        witness.take(message, self.applied, self.memberships if allowed else self.memberships_before, self.clock.now())
        if message.seq is not None and stream.identity.event_types is None:
            for reader in stream.readers:
                furthest = self.furthest[reader]
                furthest[message.priority] = max(furthest[message.priority], message.seq)

    def _witnesses(self) -> list[Witness]:
        return [stream.witness for stream in self.streams if stream.witness is not None]

    # What happens meanwhile.

    def join(self, user_id: str, group: str, event_types: tuple[str, ...] | None) -> None:
        self.spawn(self._change_membership(lambda: self.service.subscribe(user_id, group, event_types)))

    def leave(self, user_id: str, group: str) -> None:
        self.spawn(self._change_membership(lambda: self.service.unsubscribe(user_id, group)))

    async def _change_membership(self, change: Callable[[], Awaitable[object]]) -> None:
        try:
            await change()
        except Unavailable:
            return  # it was not changed
        self.memberships_before = self.memberships

    def mark_read(self, user_id: str, event_ids: Sequence[str]) -> None:
        async def mark() -> None:
            try:
                await self.service.mark_read(user_id, event_ids=event_ids)
            except Unavailable:
                return  # whether they were marked, the store knows

        self.spawn(mark())

    def tick(self, name: str) -> None:
        """One of the jobs that recur; never twice at a time."""
        if name in self._jobs:
            return
        parts = self.node
        work: Callable[[], Awaitable[object]] = {
            "beat": parts.heartbeat().beat,
            "sweep": parts.heartbeat().sweep,
            "catch_up": parts.feed().catch_up,
            "unread": parts.unread().flush,
            "ledger": parts.ledger().flush,
            "janitor": parts.janitor().run,
        }[name]

        async def run() -> None:
            try:
                await work()
            except Unavailable:
                pass  # tried again on the next tick
            finally:
                del self._jobs[name]

        self._jobs[name] = self.spawn(run())

    def _store_did(self, call: str, arguments: tuple[Any, ...], answer: Any) -> None:
        if call == "append":
            self._appended(answer.appended)
        elif call == "join":
            user_id, group, event_types = arguments
            standing = self.memberships.get(user_id, {}).get(group)
            joined_at = len(self.log) if standing is None else standing.joined_at
            self._membership_changes(user_id, group, Membership(joined_at, event_types))
        elif call == "leave":
            user_id, group = arguments
            self._membership_changes(user_id, group, None)
        elif call == "mark_read":
            user_id, selection, now = arguments
            self._marked(user_id, selection, now)

    def _membership_changes(self, user_id: str, group: str, membership: Membership | None) -> None:
        self.memberships_before = deepcopy(self.memberships)
        self.memberships = deepcopy(self.memberships)
        groups = self.memberships.setdefault(user_id, {})
        groups.pop(group, None)
        if membership is not None:
            groups[group] = membership
        for witness in self._witnesses():
            witness.excuse_if_not_audience([*self.log, *witness.passed_by], self.memberships)

    def _marked(self, user_id: str, selection: TheseSeqs, now: Any) -> None:
        marks = self.read.setdefault(user_id, set())
        for message in self.log:
            if message.seq in selection.seqs and is_visible(message, user_id, self.memberships, now):
                marks.add(message.event_id)
        for witness in self._witnesses():
            self._excuse_read(witness)

    def _excuse_read(self, witness: Witness) -> None:
        witness.excused |= self.read.get(witness.identity.user_id or "", set())

    # The model's own inbox.

    def unread_of(self, user_id: str | None) -> list[Message]:
        if user_id is None:
            return []
        now, marks = self.clock.now(), self.read.get(user_id, set())
        visible = (message for message in self.log if is_visible(message, user_id, self.memberships, now))
        return [message for message in visible if message.event_id not in marks]


def _at_once(call: Coroutine[Any, Any, Any]) -> Any:
    """The answer of a call that waits for nothing."""
    try:
        call.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")
