"""The log of persisted messages, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice

from sse_adapters.memory.state import MemoryState
from sse_domain.cursor import Positions
from sse_domain.delivery import HIGHEST_FIRST
from sse_domain.log import Appended, Commit, Entry, Outcome
from sse_domain.message import BROADCAST, Message, Priority, Receiver, ReceiverType, accept, same_content
from sse_domain.ports import LogIdentity, MessageLog
from sse_domain.replay import LogHead, ReadRequest, ReplayPage, page_length
from sse_domain.subscription import Audience


class MemoryMessageLog(MessageLog, LogIdentity):
    """Appends are atomic and in order because nothing here awaits. Looking an event_id up costs nothing, so
    `may_repeat` is not needed to save it."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def head(self) -> LogHead:
        return self._head()

    def _head(self) -> LogHead:
        state = self._state
        return LogHead(
            epoch=state.epoch, seq=state.seq, purged_through=state.purged_through, memberships=state.memberships
        )

    async def append(self, entries: Sequence[Entry], now: datetime) -> Commit:
        return Commit([self._append(entry, now) for entry in entries], self._head())

    def _append(self, entry: Entry, now: datetime) -> Appended:
        earlier = self._state.by_event_id.get(entry.event_id)
        if earlier is not None:
            same = same_content(entry.draft, earlier)
            return Appended(Outcome.REPEATED if same else Outcome.CONFLICT, earlier)
        message = accept(entry.draft, event_id=entry.event_id, seq=self._state.seq + 1, now=now)
        self._state.add(message)
        return Appended(Outcome.NEW, message)

    async def read(self, after: int, limit: int) -> list[Message]:
        state = self._state
        return [state.messages[seq] for seq in islice(state.seqs.rising(after, state.seq), limit)]

    async def replay(self, audience: Audience, request: ReadRequest, now: datetime) -> ReplayPage:
        owed = list(islice(self._owed(audience, request, now), request.limit + 1))
        length = page_length((len(message.data) for message in owed), request.limit, request.max_bytes)
        return ReplayPage(tuple(owed[:length]), complete=length == len(owed))

    def _owed(self, audience: Audience, request: ReadRequest, now: datetime) -> Iterator[Message]:
        """Everything in the range of `request`, in delivery order."""
        receivers = _receivers(audience)
        for priority in HIGHEST_FIRST:
            after = request.after[priority]
            if after is None:
                continue
            for message in self._state.rising(receivers, {priority: after}, request.through):
                read = self._state.has_read(audience.user_id, message)
                if audience.admits(message) and not message.expired(now) and not read:
                    yield message

    async def find(self, event_ids: Sequence[str]) -> dict[str, Message]:
        known = self._state.by_event_id
        return {event_id: known[event_id] for event_id in event_ids if event_id in known}

    async def seq_before(self, since: datetime) -> int:
        # Not a binary search: the clock may have been set back, and then created_at does not rise with seq.
        later = (seq for seq, message in self._state.messages.items() if message.created_at >= since)
        first = next(later, None)
        return self._state.seq if first is None else first - 1

    async def first_owed(self, receiver: Receiver, after: Positions, now: datetime) -> tuple[int | None, ...]:
        def first(priority: Priority) -> int | None:
            messages = self._state.rising([receiver], {priority: after[priority]}, self._state.seq)
            return next((message.seq for message in messages if not message.expired(now)), None)

        return tuple(map(first, Priority))

    async def rename(self, old: str, new: str, through: int) -> None:
        state = self._state
        if state.epoch == old:
            state.epoch = new
            for reader, given in state.delivered.items():
                state.delivered[reader] = replace(given, positions=given.positions.nearest(Positions.level(through)))


def _receivers(audience: Audience) -> list[Receiver]:
    """Every receiver whose messages the audience may admit."""
    groups = audience.groups | audience.subscriptions.keys()
    receivers = [BROADCAST, *(Receiver(ReceiverType.GROUP, group) for group in groups)]
    if audience.user_id is not None:
        receivers.append(Receiver(ReceiverType.USER, audience.user_id))
    if audience.client_id is not None:
        receivers.append(Receiver(ReceiverType.CLIENT, audience.client_id))
    return receivers
