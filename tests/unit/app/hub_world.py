"""Nodes of one hub over one memory store, their readers, and what the naive model of SPEC §3–§4 knows of them.

The nodes' parts are the real ones. The test says which call of the store goes on or fails, which note between the nodes
is heard and when, how far the event loop runs, and which reader takes what; so sends, openings, replays, memberships
and marks overlap at each await.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from copy import deepcopy
from typing import Any

import pytest

from sse_adapters.memory import MemoryBoard, MemoryStore, MemoryUnreadCache
from sse_domain.api import Receipt
from sse_domain.errors import Unavailable
from sse_domain.inbox import TheseSeqs
from sse_domain.log import Appended, Commit, Entry, Outcome
from sse_domain.message import Draft, Message
from sse_domain.notes import Committed, Note, Passing
from sse_domain.replay import LogHead, StreamRequest
from tests.unit.app.conftest import FakeClock
from tests.unit.app.gates import EPOCH
from tests.unit.app.held_notes import HeldNotes
from tests.unit.app.membership_history import MembershipHistory
from tests.unit.app.small_node import make_small
from tests.unit.app.turns import Turns
from tests.unit.app.watched_node import WatchedNode
from tests.unit.app.watched_stream import Asked, WatchedStream
from tests.unit.domain.model import Identity, Membership, Witness, is_visible


class WatchedNotes(HeldNotes):
    """Keeps which node took an ephemeral message, and when among those that it took."""

    def __init__(self, taken: dict[str, tuple[str, int]]) -> None:
        super().__init__()
        self._taken = taken

    def tell(self, teller: str, note: Note) -> None:
        if isinstance(note, Passing):
            for message in note.messages:
                self._taken[message.event_id] = teller, len(self._taken)
        super().tell(teller, note)


class HubWorld(Turns):
    """`nothing_lost`: every note is heard sooner or later."""

    def __init__(self, nodes: int, *, nothing_lost: bool) -> None:
        super().__init__()
        self.nothing_lost = nothing_lost
        self.clock = FakeClock()
        self.store = MemoryStore(epoch=EPOCH)
        self.taken: dict[str, tuple[str, int]] = {}
        self.notes = WatchedNotes(self.taken)
        self.board = MemoryBoard()
        self.unread_cache = MemoryUnreadCache()
        self.streams: list[WatchedStream] = []
        self.log: list[Message] = []  # seq is index + 1
        self.version_at: list[int] = []  # how many changes of memberships came before each of them
        self.memberships = MembershipHistory()
        self.read: dict[str, set[str]] = {}
        # By user and by named client: per priority, the furthest that its unfiltered streams were given, by any node.
        self.furthest: dict[str, list[int]] = {}
        self.recorded: dict[str, list[int]] = {}  # the same, as far as nodes have told each other
        self.sent = 0
        self._answered = 0  # the highest seq among the answers
        self._patch = pytest.MonkeyPatch()
        make_small(self._patch)
        self.nodes = [WatchedNode(self, f"node-{number}") for number in range(nodes)]
        self.settle()

    def close(self) -> None:
        super().close()
        self._patch.undo()

    def node(self, node_id: str) -> WatchedNode:
        return next(node for node in self.nodes if node.node_id == node_id)

    def hear_all_notes(self) -> None:
        while self.notes.waiting:
            held = self.notes.waiting.pop(0)
            self.node(held.to).hear(held)

    # Publishing.

    def send(self, node: WatchedNode, drafts: Sequence[Draft]) -> None:
        """A publisher sends a batch, and what it got no answer for once more, if that is safe."""
        self.sent += len(drafts)
        self.spawn(self._send(node, list(drafts)))

    async def _send(self, node: WatchedNode, drafts: list[Draft]) -> None:
        while drafts:
            below = self._answered
            answers = await node.service.send_batch(drafts)
            for answer in answers:
                if isinstance(answer, Receipt):
                    self._check_answer(node, answer, below)
                else:
                    assert isinstance(answer, Unavailable), answer
            unanswered = [draft for draft, answer in zip(drafts, answers, strict=True) if isinstance(answer, Exception)]
            # One that has expired meanwhile may be removed, and then its id is known no more.
            drafts = [draft for draft in unanswered if draft.event_id is not None and draft.ttl is None]

    def _check_answer(self, node: WatchedNode, receipt: Receipt, below: int) -> None:
        if receipt.seq is None:  # a persisted one is handed out later if the log can't be read just after its commit
            assert receipt.event_id in node.order, "answered, and never handed out"
        if receipt.seq is not None:
            assert self.log[receipt.seq - 1].event_id == receipt.event_id
            assert receipt.repeated or receipt.seq > below, "§3.8: sent after an answer, and ordered before it"
            self._answered = max(self._answered, receipt.seq)

    def commit_elsewhere(self, drafts: Sequence[Draft], *, told_whole: bool) -> None:
        """Another process on the same database commits, and tells the nodes of it, with its messages or without."""
        self.sent += len(drafts)
        entries = []
        for number, draft in enumerate(drafts):
            event_id = f"elsewhere-{self.sent}-{number}"
            entries.append(Entry(draft, event_id, may_repeat=False))
        commit: Commit = _at_once(self.store.log.append(entries, self.clock.now()))
        self._appended(commit.appended)
        messages = tuple(message for _, message in commit.appended) if told_whole else ()
        self.notes.tell("elsewhere", Committed(commit.head, messages))

    def join_elsewhere(self, user_id: str, group: str, event_types: tuple[str, ...] | None) -> None:
        _at_once(self.store.subscriptions.join(user_id, group, event_types))
        self._joined(user_id, group, event_types)
        self._tell_of_change()

    def leave_elsewhere(self, user_id: str, group: str) -> None:
        _at_once(self.store.subscriptions.leave(user_id, group))
        self._membership_changes(user_id, group, None)
        self._tell_of_change()

    def _tell_of_change(self) -> None:
        head: LogHead = _at_once(self.store.log.head())
        self.notes.tell("elsewhere", Committed(head))

    def _appended(self, appended: Sequence[Appended]) -> None:
        new = [message for outcome, message in appended if outcome is Outcome.NEW]
        self.log += new
        self.version_at += [self.memberships.version] * len(new)
        for witness in self._witnesses():
            witness.excuse_if_not_audience(new, self.memberships.now)

    # Streams.

    def open(
        self, node: WatchedNode, identity: Identity, request: StreamRequest, witness: Witness | None = None
    ) -> WatchedStream:
        """A reader opens a stream. `witness` is what is known of it already, when it comes back."""
        known = deepcopy(self.recorded)
        for reader, furthest in node.furthest.items():
            _advance(known, reader, furthest)
        asked = Asked(node.head, len(self.log), known, self.unread_of(identity.user_id))
        stream = WatchedStream(self, node, identity, request, witness, asked)
        self.streams.append(stream)
        stream.opening = self.spawn(self._open(stream))
        return stream

    async def _open(self, stream: WatchedStream) -> None:
        try:
            stream.connection = await stream.node.service.open(stream.request, stream)
        except Unavailable:
            assert not stream.frames, "not opened, and yet written to"
        finally:
            stream.opening = None
            stream.closed |= stream.connection is None

    def begins(self, node: WatchedNode, witness: Witness) -> None:
        """A stream without a past begins. What is not its own now, as far as its node knows, it is not owed later."""
        user_id = witness.identity.user_id
        for message, version in zip(self.log, self.version_at, strict=True):
            for memberships in self.memberships.seen_by(node.knowledge, user_id, message.receiver.id, version):
                witness.excuse_if_not_audience([message], memberships)
        self._excuse_read(witness)

    def begins_to_know(self, node: WatchedNode, reader: str, least: Sequence[int], most: Sequence[int]) -> None:
        """A node has opened a stream of this reader, and takes it to have been given that much, if it did not know of
        it: it may have heard of it meanwhile."""
        node.furthest.setdefault(reader, [0, 0, 0] if reader in self.furthest else list(least))
        _advance(self.furthest, reader, most)

    def given(self, stream: WatchedStream, message: Message) -> None:
        witness, node = stream.known, stream.node
        seen = self.memberships.seen_by(node.knowledge, stream.identity.user_id, message.receiver.id)
        allowing = (memberships for memberships in seen if witness.allows(message, memberships))
        witness.take(message, node.applied, next(allowing, self.memberships.now), self.clock.now())
        if message.seq is not None and stream.identity.event_types is None:
            for reader in stream.readers:
                for furthest in (self.furthest, node.furthest):
                    furthest[reader][message.priority] = max(furthest[reader][message.priority], message.seq)

    def _witnesses(self) -> list[Witness]:
        return [stream.witness for stream in self.streams if stream.witness is not None]

    # What the store does for a node.

    def store_did(self, node: WatchedNode, call: str, arguments: tuple[Any, ...], answer: Any) -> None:
        if call == "append":
            self._appended(answer.appended)
        elif call == "join":
            user_id, group, event_types = arguments
            self._joined(user_id, group, event_types)
            node.changes[user_id, group] = self.memberships.version
        elif call == "leave":
            user_id, group = arguments
            self._membership_changes(user_id, group, None)
            node.changes[user_id, group] = self.memberships.version
        elif call == "mark_read":
            user_id, selection, now = arguments
            self._marked(user_id, selection, now)
        elif call == "record_delivered":
            for reader, record in arguments[0].items():
                _advance(self.recorded, f"{reader.type} {reader.id}", record.positions)

    def _joined(self, user_id: str, group: str, event_types: tuple[str, ...] | None) -> None:
        standing = self.memberships.now.get(user_id, {}).get(group)
        joined_at = len(self.log) if standing is None else standing.joined_at
        self._membership_changes(user_id, group, Membership(joined_at, event_types))

    def _membership_changes(self, user_id: str, group: str, membership: Membership | None) -> None:
        if self.memberships.now.get(user_id, {}).get(group) != membership:
            self.memberships.change(user_id, group, membership)
            for witness in self._witnesses():
                witness.excuse_if_not_audience([*self.log, *witness.passed_by], self.memberships.now)

    def _marked(self, user_id: str, selection: TheseSeqs, now: Any) -> None:
        marks = self.read.setdefault(user_id, set())
        for message in self.log:
            if message.seq in selection.seqs and is_visible(message, user_id, self.memberships.now, now):
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
        visible = (message for message in self.log if is_visible(message, user_id, self.memberships.now, now))
        return [message for message in visible if message.event_id not in marks]


def _advance(furthest: dict[str, list[int]], reader: str, to: Sequence[int]) -> None:
    furthest[reader] = list(map(max, furthest.get(reader, [0, 0, 0]), to))


def _at_once(call: Coroutine[Any, Any, Any]) -> Any:
    """The answer of a call that waits for nothing."""
    try:
        call.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")
