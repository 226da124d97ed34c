"""Sending: one message or a batch, ephemeral or persisted, and what a repeated event_id means (SPEC §2 Sending)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from struct import Struct

from sse_app.clock import Clock
from sse_app.fan_out import FanOut
from sse_app.recent import RecentEphemeral, Sent
from sse_app.sequencer import Sequenced, Sequencer
from sse_domain.api import Receipt
from sse_domain.errors import EventIdConflict, InvalidInput, ShuttingDown, SseError
from sse_domain.log import Entry, Outcome
from sse_domain.message import Draft, Message, accept, fingerprint
from sse_domain.ports import MessageLog

MAX_BATCH = 1000
RANDOM_PARTS = 256  # of ids, drawn at once: a system call for each would double what an id costs
RANDOM_BITS = 80  # of an id's 128, below its milliseconds


class Publisher:
    def __init__(self, message_log: MessageLog, sequencer: Sequencer, fan_out: FanOut, clock: Clock) -> None:
        self.accepted = 0
        self._log = message_log
        self._sequencer = sequencer
        self._fan_out = fan_out
        self._clock = clock
        self._recent = RecentEphemeral()
        self._ids = EventIds()

    async def send(self, draft: Draft) -> Receipt:
        """See PushService.send."""
        if not draft.persist and draft.event_id is None:
            return await self._pass_on(draft)
        [answer] = await (self._persist_run([draft]) if draft.persist else self._ephemeral_run([draft]))
        try:
            if isinstance(answer, SseError):
                raise answer
            return answer
        finally:
            del answer  # an error leads to this frame, and would hold itself until the garbage collector comes

    async def send_batch(self, drafts: Sequence[Draft]) -> list[Receipt | SseError]:
        """See PushService.send_batch. Runs of persisted messages are committed together, in their place."""
        if len(drafts) > MAX_BATCH:
            raise InvalidInput("messages", f"at most {MAX_BATCH} a batch")
        answers: list[Receipt | SseError] = []
        for persist, group in groupby(drafts, key=attrgetter("persist")):
            run = list(group)
            answers += await (self._persist_run(run) if persist else self._ephemeral_run(run))
        return answers

    def entry(self, draft: Draft) -> Entry:
        """What is to be committed for a draft. Raises EventIdConflict if an ephemeral message has its event_id."""
        conflict = self._ephemeral_twin(draft)
        if conflict is not None:
            raise conflict
        return self._entry(draft, self._clock.now())

    async def _persist_run(self, drafts: Sequence[Draft]) -> list[Receipt | SseError]:
        conflicts = [self._ephemeral_twin(draft) for draft in drafts]
        now = self._clock.now()
        entries = [
            self._entry(draft, now) for draft, conflict in zip(drafts, conflicts, strict=True) if conflict is None
        ]
        try:
            sequenced = iter(await self._sequencer.submit(entries) if entries else ())
        except SseError as error:
            return [conflict or error for conflict in conflicts]
        return [conflict or self._answer(next(sequenced)) for conflict in conflicts]

    async def _pass_on(self, draft: Draft) -> Receipt:
        """Send an ephemeral message that can't be a repeat: a run of one, and the most frequent of all."""
        if self._sequencer.stopped:
            raise _shutting_down()
        message = self._accept(draft, self._clock.now())
        self.accepted += 1
        [connections] = await self._fan_out.publish([message])
        return _ephemeral_receipt(message, connections)

    async def _ephemeral_run(self, drafts: Sequence[Draft]) -> list[Receipt | SseError]:
        if self._sequencer.stopped:
            return [_shutting_down() for _ in drafts]
        asked = [d.event_id for d in drafts if d.event_id is not None and self._recent.find(d.event_id) is None]
        stored: Mapping[str, Message] | SseError
        try:
            stored = await self._log.find(asked) if asked else {}
        except SseError as error:
            stored = error
        # No await from here on: what is remembered as sent is also handed out, and a repeat is told from its first.
        now = self._clock.now()
        answers: list[Receipt | SseError | None] = []
        fresh: list[Message] = []
        for draft in drafts:
            answer = None if draft.event_id is None else self._answer_to_known(draft, draft.event_id, stored)
            answers.append(answer)
            if answer is None:
                fresh.append(self._accept(draft, now))
        self.accepted += len(fresh)
        counts = await self._fan_out.publish(fresh)
        receipts = map(_ephemeral_receipt, fresh, counts)
        return [answer or next(receipts) for answer in answers]

    def _answer_to_known(
        self, draft: Draft, event_id: str, stored: Mapping[str, Message] | SseError
    ) -> Receipt | SseError | None:
        """The answer to an event_id that was used before, or may have been; None for a new one. `stored` is what the
        log knows of them."""
        sent = self._recent.find(event_id)
        if sent is not None:
            return sent.receipt if sent.fingerprint == fingerprint(draft) else EventIdConflict(event_id)
        if isinstance(stored, SseError):
            return stored
        return EventIdConflict(event_id) if event_id in stored else None

    def _entry(self, draft: Draft, now: datetime) -> Entry:
        """A draft for the log, under an id of our own unless its publisher chose one."""
        return Entry(draft, draft.event_id or self._ids.new(now), may_repeat=draft.event_id is not None)

    def _accept(self, draft: Draft, now: datetime) -> Message:
        message = accept(draft, event_id=draft.event_id or self._ids.new(now), seq=None, now=now)
        if draft.event_id is not None:
            answer = _ephemeral_receipt(message, connections=0, repeated=True)
            self._recent.add(draft.event_id, Sent(fingerprint(draft), answer))
        return message

    def _answer(self, sequenced: Sequenced) -> Receipt | SseError:
        outcome, message = sequenced.appended
        if outcome is Outcome.CONFLICT:
            return EventIdConflict(message.event_id)
        if outcome is Outcome.NEW:
            self.accepted += 1
        return Receipt(
            event_id=message.event_id,
            seq=message.seq,
            persisted=True,
            expire_at=message.expire_at,
            connections=sequenced.connections,
            repeated=outcome is Outcome.REPEATED,
        )

    def _ephemeral_twin(self, draft: Draft) -> SseError | None:
        """An id that an ephemeral message was sent under can't be that of a persisted one as well."""
        if draft.event_id is None or self._recent.find(draft.event_id) is None:
            return None
        return EventIdConflict(draft.event_id)


class EventIds:
    """Time-ordered unique ids of 32 hex digits, each greater than the one before, whatever the clock does.

    The first of a millisecond is 48 bits of time, a 0 that leaves room to count, 64 random bits and 15 zeros. From
    there on each is less than 2**64 above the one before, at random (RFC 9562 §6.2, method 2), so none can be told from
    another. There is room for 32,000 in a millisecond at the least; what goes beyond is carried into the time.
    """

    def __init__(self) -> None:
        self._random = _random_parts()
        self._last = 0

    def new(self, now: datetime) -> str:
        first = int(now.timestamp() * 1000) << RANDOM_BITS
        if first > self._last:
            self._last = first | next(self._random) << 15
        else:
            self._last += next(self._random)
        return f"{self._last:032x}"


def _random_parts() -> Iterator[int]:
    """64 bits from the system's generator, without end."""
    parts = Struct(f"{RANDOM_PARTS}Q")
    while True:
        yield from parts.unpack(os.urandom(parts.size))


def _shutting_down() -> ShuttingDown:
    """The answer to what does not go by the sequencer, which refuses the rest itself once it is stopped."""
    return ShuttingDown("this node is shutting down")


def _ephemeral_receipt(message: Message, connections: int, *, repeated: bool = False) -> Receipt:
    return Receipt(message.event_id, None, False, message.expire_at, connections, repeated)
