"""Sending: one message or a batch, ephemeral or persisted, and what a repeated event_id means (SPEC §2 Sending)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby

from sse_app.clock import Clock
from sse_app.feed import publish_in_runs
from sse_app.hub import Hub
from sse_app.recent import RecentEphemeral, Sent
from sse_app.sequencer import Sequenced, Sequencer
from sse_domain.api import Receipt
from sse_domain.errors import EventIdConflict, InvalidInput, SseError
from sse_domain.message import Draft, Message, accept, fingerprint
from sse_domain.ports import Entry, MessageLog, Outcome

MAX_BATCH = 1000


class Publisher:
    def __init__(self, message_log: MessageLog, sequencer: Sequencer, hub: Hub, clock: Clock) -> None:
        self.accepted = 0
        self._log = message_log
        self._sequencer = sequencer
        self._hub = hub
        self._clock = clock
        self._recent = RecentEphemeral()

    async def send(self, draft: Draft) -> Receipt:
        """See PushService.send."""
        [answer] = await (self._persist_run([draft]) if draft.persist else self._ephemeral_run([draft]))
        if isinstance(answer, SseError):
            raise answer
        return answer

    async def send_batch(self, drafts: Sequence[Draft]) -> list[Receipt | SseError]:
        """See PushService.send_batch. Runs of persisted messages are committed together, in their place."""
        if len(drafts) > MAX_BATCH:
            raise InvalidInput("messages", f"at most {MAX_BATCH} a batch")
        answers: list[Receipt | SseError] = []
        for persist, group in groupby(drafts, key=lambda draft: draft.persist):
            run = list(group)
            answers += await (self._persist_run(run) if persist else self._ephemeral_run(run))
        return answers

    def entry(self, draft: Draft) -> Entry:
        """What is to be committed for a draft. Raises EventIdConflict if an ephemeral message has its event_id."""
        conflict = self._ephemeral_twin(draft)
        if conflict is not None:
            raise conflict
        return self._entry(draft)

    async def _persist_run(self, drafts: list[Draft]) -> list[Receipt | SseError]:
        answers: list[Receipt | SseError | None] = [self._ephemeral_twin(draft) for draft in drafts]
        free = [draft for draft, conflict in zip(drafts, answers, strict=True) if conflict is None]
        try:
            sequenced = iter(await self._sequencer.submit([self._entry(draft) for draft in free])) if free else iter(())
        except SseError as error:
            return [error if answer is None else answer for answer in answers]
        return [
            self._answer(next(sequenced)) if conflict is None else conflict
            for draft, conflict in zip(drafts, answers, strict=True)
        ]

    async def _ephemeral_run(self, drafts: list[Draft]) -> list[Receipt | SseError]:
        asked = [d.event_id for d in drafts if d.event_id is not None and self._recent.find(d.event_id) is None]
        stored: Mapping[str, Message] | SseError
        try:
            stored = await self._log.find(asked) if asked else {}
        except SseError as error:
            stored = error
        # No await from here on: what is remembered as sent is also handed out, and a repeat is told from its first.
        outcomes = [self._ephemeral_outcome(draft, stored) for draft in drafts]
        fresh = [outcome for outcome in outcomes if isinstance(outcome, Message)]
        self.accepted += len(fresh)
        counts = iter(await publish_in_runs(self._hub, fresh))
        return [
            _ephemeral_receipt(outcome, connections=next(counts)) if isinstance(outcome, Message) else outcome
            for outcome in outcomes
        ]

    def _ephemeral_outcome(
        self, draft: Draft, stored: Mapping[str, Message] | SseError
    ) -> Message | Receipt | SseError:
        """A new message, or the answer to an event_id that was used before. `stored` is what the log knows of them."""
        if draft.event_id is None:
            return self._accept(draft)
        sent = self._recent.find(draft.event_id)
        if sent is not None:
            return sent.receipt if sent.fingerprint == fingerprint(draft) else EventIdConflict(draft.event_id)
        if isinstance(stored, SseError):
            return stored
        return EventIdConflict(draft.event_id) if draft.event_id in stored else self._accept(draft)

    def _accept(self, draft: Draft) -> Message:
        now = self._clock.now()
        message = accept(draft, event_id=draft.event_id or new_event_id(now), seq=None, now=now)
        if draft.event_id is not None:
            answer = _ephemeral_receipt(message, connections=0, repeated=True)
            self._recent.add(draft.event_id, Sent(fingerprint(draft), answer))
        return message

    def _entry(self, draft: Draft) -> Entry:
        named = draft.event_id
        return Entry(draft, named or new_event_id(self._clock.now()), may_repeat=named is not None)

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


def new_event_id(now: datetime) -> str:
    """A time-ordered unique id: 48 bits of milliseconds, then 80 random bits, as 32 hex digits."""
    return f"{int(now.timestamp() * 1000):012x}{os.urandom(10).hex()}"


def _ephemeral_receipt(message: Message, *, connections: int, repeated: bool = False) -> Receipt:
    return Receipt(
        event_id=message.event_id,
        seq=None,
        persisted=False,
        expire_at=message.expire_at,
        connections=connections,
        repeated=repeated,
    )
