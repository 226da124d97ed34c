"""A world for the domain to run in: a store, a hub that fans out what its feed applies, and readers.

It does what the application promises, in the simplest way, and shows every step to each reader's Witness.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from sse_domain.bounds import Caps
from sse_domain.cursor import Positions, encode_cursor, parse_cursor
from sse_domain.delivery import Delivery, State
from sse_domain.message import Draft, Message
from sse_domain.replay import LogHead, ReadRequest, ReplayPage, ResetReason, judge_cursor
from sse_domain.subscription import Audience
from tests.unit.domain.model import Identity, Witness, is_expired
from tests.unit.domain.store import Store

EPOCH = "0a1b2c3d"
CAPS = Caps(waiting_messages=4, waiting_bytes=50, page_messages=3, page_bytes=40)
CURSOR_GRAMMAR = re.compile(r"[0-9A-Za-z._-]{1,64}")  # SPEC §2
PATIENCE = 1000  # pulls and reads that draining any stream of these tests may take


@dataclass
class Frame:
    """What a reader remembers of a frame: its id, and how many persisted messages it had been given by then."""

    cursor: str | None
    persisted_given: int


@dataclass
class Reader:
    """One reader with at most one connection open. `delivery` is None while it is away with `cursor`."""

    witness: Witness
    delivery: Delivery | None
    frames: list[Frame] = field(default_factory=list)
    blocked: bool = False
    reading: ReadRequest | None = None
    found: ReplayPage | None = None
    cursor: str = ""


def kept(delivery: Delivery) -> list[Message]:
    """Through the back door: every message that a stream holds in memory."""
    lanes = delivery._lanes or ()
    return [message for lane in lanes for messages in (lane.waiting, lane.tail) for message in messages]


class World:
    def __init__(self, caps: Caps = CAPS) -> None:
        self.caps = caps
        self.store = Store()
        self.applied = 0  # how much of the log this node's feed has applied
        self.readers: list[Reader] = []
        self.order: dict[str, int] = {}  # of every message, by event id: when this node applied it

    # Publishing.

    def publish(self, draft: Draft, *, apply: bool = True) -> Message:
        """Send a message. Without `apply` a persisted one stays beyond the feed's head until `catch_up`."""
        message = self.store.accept(draft)
        if message.seq is None:
            self._apply(message)
            return message
        for reader in self.readers:
            reader.witness.excuse_if_not_audience([message], self.store.memberships)
        if apply:
            self.catch_up()
        return message

    def catch_up(self) -> None:
        while self.applied < len(self.store.log):
            self.applied += 1
            self._apply(self.store.log[self.applied - 1])

    def applied_messages(self) -> list[Message]:
        return self.store.log[: self.applied]

    def _apply(self, message: Message) -> None:
        self.order[message.event_id] = len(self.order)
        for reader in self.readers:
            if reader.delivery is None or is_expired(message, self.store.now):
                continue
            if message.seq is None and reader.witness.is_audience(message, self.store.memberships, url_groups_from=0):
                reader.witness.passed_by.append(message)
            if not reader.delivery.audience.admits(message):
                continue
            if reader.delivery.level and not reader.blocked:
                reader.delivery.gave(message)
                positions = None if message.seq is None else Positions.level(message.seq)
                self._write(reader, message, positions)
            else:
                self._offer(reader.delivery, message)

    def _offer(self, delivery: Delivery, message: Message) -> None:
        before, state = kept(delivery), delivery.state
        delivery.offer(message)
        if delivery.state is State.LAGGING and state is not State.LAGGING:
            assert not self._within_caps([*before, message]), "fell back though its caps were not reached"
        if len(kept(delivery)) > len(before):
            assert self._within_caps(kept(delivery)), "§3.10: more waits than the cap"

    def _within_caps(self, messages: list[Message]) -> bool:
        size = sum(len(message.data) for message in messages)
        return len(messages) <= self.caps.waiting_messages and size <= self.caps.waiting_bytes

    # Streams.

    def open(self, identity: Identity, behind: Sequence[int] | None = None) -> Reader:
        """Open a stream with no cursor, that far behind the head per priority; None is at the head."""
        self.catch_up()
        head = len(self.store.log)
        begin = Positions(*(max(0, head - distance) for distance in behind or (0, 0, 0)))
        witness = Witness(identity, (begin[0], begin[1], begin[2]), groups_from=head, order=self.order)
        witness.excuse_if_not_audience(self.store.log, self.store.memberships)
        self._excuse_read_and_purged(witness)
        reader = Reader(witness, None)
        self._connect(reader, begin, groups_after=head)
        self.readers.append(reader)
        return reader

    def cut(self, reader: Reader, frames_lost: int) -> None:
        """The connection dies, and its last frames never arrive; the priming frame always did."""
        assert reader.delivery is not None
        reader.delivery.close()
        assert reader.delivery.pull(self.store.now, self.applied, limit=10, max_bytes=1000) == []
        assert reader.delivery.read_request(self.applied) is None
        self.readers[self.readers.index(reader)] = self._away(reader, max(1, len(reader.frames) - frames_lost))

    def _away(self, reader: Reader, frames: int) -> Reader:
        """The reader when it has received only so many frames."""
        received = reader.frames[:frames]
        cursor = [frame.cursor for frame in received if frame.cursor is not None][-1]
        return Reader(reader.witness.after_cut(received[-1].persisted_given), None, cursor=cursor)

    def resume(self, reader: Reader) -> Reader:
        """Come back with the last id received; SPEC §3.5 tells when that can't be honoured and all begins anew."""
        self.catch_up()
        head = LogHead(epoch=EPOCH, seq=len(self.store.log), purged_through=self.store.purged_through)
        judged = judge_cursor(reader.cursor, head)
        if isinstance(judged, Positions):
            lost = {m.event_id for m in reader.witness.purged} - reader.witness.given_before
            assert not lost, "§3.5: a silent gap"
            self._connect(reader, judged, groups_after=0)
            return reader
        assert (judged, self.store.purged_through > 0) == (ResetReason.TOO_OLD, True)
        self.readers.remove(reader)
        return self.open(reader.witness.identity)

    def check_resume_from_every_frame(self, reader: Reader) -> None:
        """SPEC §3.3, of each frame on this connection, when all is drained."""
        others = self.readers
        for frames in range(1, len(reader.frames) + 1):
            twin = self._away(reader, frames)
            self.readers = [twin]
            self.drain(self.resume(twin))
        self.readers = others

    def _connect(self, reader: Reader, start: Positions, *, groups_after: int) -> None:
        who = reader.witness.identity
        audience = Audience(
            client_id=who.client_id,
            user_id=who.user_id,
            groups=who.url_groups,
            groups_after=groups_after,
            subscriptions={} if who.user_id is None else self.store.subscriptions.setdefault(who.user_id, {}),
            event_types=who.event_types,
        )
        reader.delivery = Delivery(audience, start, self.applied, self.caps)
        reader.blocked = False
        self._frame(reader, max(start), start)

    def pull(self, reader: Reader, limit: int, max_bytes: int = 1000) -> int:
        assert reader.delivery is not None
        given = reader.delivery.pull(self.store.now, self.applied, limit=limit, max_bytes=max_bytes)
        assert len(given) <= limit
        for message, positions in given:
            if message.seq is not None and positions is None:
                positions = Positions.level(message.seq)
            self._write(reader, message, positions)
        return len(given)

    def stand(self, reader: Reader) -> None:
        """An id-only frame, as heartbeats write them."""
        assert reader.delivery is not None
        positions = reader.delivery.positions(self.applied)
        self._frame(reader, max(positions), positions)

    def _write(self, reader: Reader, message: Message, positions: Positions | None) -> None:
        reader.witness.take(message, self.applied_messages(), self.store.memberships, self.store.now)
        assert (positions is None) == (message.seq is None), "§3.9: only persisted messages carry a cursor"
        self._frame(reader, message.seq or 0, positions)

    def _frame(self, reader: Reader, seq: int, positions: Positions | None) -> None:
        cursor = None
        if positions is not None:
            cursor = encode_cursor(seq, EPOCH, positions)
            parsed = parse_cursor(cursor)
            assert parsed == (seq, EPOCH, positions)
            assert CURSOR_GRAMMAR.fullmatch(cursor)
            assert cursor.split("-")[0] == str(seq)
            assert len(cursor.split("-")) == (2 if positions == Positions.level(seq) else 3)
        persisted = sum(message.seq is not None for message in reader.witness.given)
        reader.frames.append(Frame(cursor, persisted))

    # Reading the log.

    def ask(self, reader: Reader) -> bool:
        """Start the read that the stream asks for, if it does and none is running."""
        if reader.reading is None and reader.delivery is not None:
            reader.reading = reader.delivery.read_request(self.applied)
        return reader.reading is not None

    def find(self, reader: Reader) -> None:
        """The log reads, now; its answer is still on its way."""
        if reader.reading is not None and reader.found is None and reader.delivery is not None:
            reader.found = self.store.replay(reader.delivery.audience, reader.reading)

    def answer(self, reader: Reader) -> None:
        self.find(reader)
        if reader.found is not None and reader.delivery is not None:
            before = kept(reader.delivery)
            reader.delivery.page(reader.found)
            assert len(kept(reader.delivery)) <= len(before) + len(reader.found.messages)
        reader.reading = reader.found = None

    def fail(self, reader: Reader) -> None:
        if reader.reading is not None and reader.delivery is not None:
            reader.delivery.read_failed()
        reader.reading = reader.found = None

    # What happens meanwhile.

    def join(self, user_id: str, group: str, event_types: tuple[str, ...] | None) -> None:
        self.store.join(user_id, group, event_types)
        self._memberships_changed()

    def leave(self, user_id: str, group: str) -> None:
        self.store.leave(user_id, group)
        self._memberships_changed()

    def _memberships_changed(self) -> None:
        for reader in self.readers:
            messages = [*self.store.log, *reader.witness.passed_by]
            reader.witness.excuse_if_not_audience(messages, self.store.memberships)

    def mark_read(self, user_id: str, seqs: Sequence[int]) -> None:
        self.store.mark_read(user_id, seqs)
        for reader in self.readers:
            self._excuse_read_and_purged(reader.witness)

    def purge(self, spare: int) -> None:
        """Age-based retention removes all but the latest of what the feed has applied.

        A stream that is open but has not come to them yet is owed them no longer (SPEC §3.1); one that is away is told
        when it comes back.
        """
        store = self.store
        through = max(store.purged_through, self.applied - spare)
        for message in store.log[store.purged_through : through]:
            for reader in self.readers:
                owed = reader.witness.owes(message, store.memberships, store.now)
                if (owed and reader.delivery is None) or message in reader.witness.given:
                    reader.witness.purged.append(message)
        store.purged_through = through
        for reader in self.readers:
            self._excuse_read_and_purged(reader.witness)

    def _excuse_read_and_purged(self, witness: Witness) -> None:
        read = self.store.read.get(witness.identity.user_id or "", set())
        witness.excused |= {m.event_id for m in self.store.log[: self.store.purged_through]}
        witness.excused |= {m.event_id for m in self.store.log if m.seq in read}

    # What must hold.

    def drain(self, reader: Reader) -> None:
        """Let a reader that keeps up take all there is, while nothing is published."""
        assert reader.delivery is not None
        for _ in range(PATIENCE):
            if self.pull(reader, limit=3) == 0:
                self.answer(reader)
                if self.pull(reader, limit=3) == 0 and not self.ask(reader):
                    break
        assert reader.delivery.level, "drained, and still behind"
        assert reader.delivery.positions(self.applied) == Positions.level(self.applied)
        store, dropped = self.store, reader.delivery.dropped
        reader.witness.check_drained(self.applied_messages(), store.memberships, store.now, dropped)

    def check_bounds(self) -> None:
        """SPEC §3.10: the caps, and at most one page on top."""
        caps = self.caps
        for reader in self.readers:
            if reader.delivery is not None:
                held = kept(reader.delivery)
                assert len(held) <= caps.waiting_messages + caps.page_messages
                assert sum(len(m.data) for m in held) <= caps.waiting_bytes + caps.page_bytes
