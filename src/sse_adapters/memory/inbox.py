"""What users have been given and have read, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice

from sse_adapters.memory.state import MemoryState
from sse_domain.cursor import START, Positions
from sse_domain.inbox import (
    MAX_PAGE_BYTES,
    Delivered,
    InboxEntry,
    InboxQuery,
    ReadSelection,
    TheseSeqs,
    UnreadCounts,
    count_unread,
    status_of,
    visible,
)
from sse_domain.message import Message, Priority, Receiver
from sse_domain.ports import Inbox
from sse_domain.replay import page_length


class MemoryInbox(Inbox):
    """Keeps no row status: every answer tells the status for the user who asks, and no port tells another."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def messages(self, query: InboxQuery, delivered: Positions, now: datetime) -> list[InboxEntry]:
        entries = (
            InboxEntry(
                message=message,
                status=status_of(message, read=self._state.has_read(query.user_id, message), delivered=delivered),
            )
            for message in self._in_reach(query)
            if self._sees(query.user_id, message, now)
        )
        listed = list(islice(filter(query.admits, entries), query.limit))
        return listed[: page_length((len(entry.message.data) for entry in listed), query.limit, MAX_PAGE_BYTES)]

    def _in_reach(self, query: InboxQuery) -> Iterator[Message]:
        """The user's messages from where the listing goes on, in its direction."""
        state = self._state
        receivers = state.receivers_for(query.user_id)
        if not query.descending:
            return state.rising(receivers, _by_priority(query.after or START), state.seq)
        below = state.seq + 1 if query.after is None else max(query.after)
        return state.falling(receivers, Priority, below)

    async def unread(self, user_ids: Sequence[str], now: datetime) -> dict[str, UnreadCounts]:
        return {user_id: count_unread(self._unread(user_id, now, Priority)) for user_id in user_ids}

    async def oldest_unread(self, user_id: str, now: datetime) -> tuple[int | None, ...]:
        return tuple(
            next((message.seq for message in self._unread(user_id, now, [priority])), None) for priority in Priority
        )

    async def mark_read(self, user_id: str, selection: ReadSelection, now: datetime) -> int:
        return sum(
            self._state.mark_read(user_id, message, now)
            for message in self._selected(user_id, selection)
            if self._sees(user_id, message, now)
        )

    def _selected(self, user_id: str, selection: ReadSelection) -> Iterable[Message]:
        state = self._state
        if isinstance(selection, TheseSeqs):
            return [state.messages[seq] for seq in set(selection.seqs) if seq in state.messages]
        receivers = state.receivers_for(user_id)
        return chain.from_iterable(
            state.rising(receivers, {priority: 0}, selection.positions[priority]) for priority in Priority
        )

    async def delivered(self, readers: Collection[Receiver]) -> dict[Receiver, Delivered]:
        return {reader: self._state.delivered[reader] for reader in readers if reader in self._state.delivered}

    async def record_delivered(self, records: Mapping[Receiver, Delivered]) -> None:
        for reader, given in records.items():
            before = self._state.delivered.get(reader, given)
            self._state.delivered[reader] = Delivered(
                given.positions.furthest(before.positions), max(given.seen_at, before.seen_at)
            )

    def _sees(self, user_id: str, message: Message, now: datetime) -> bool:
        return visible(message, user_id, self._state.subscriptions_of(user_id), now)

    def _unread(self, user_id: str, now: datetime, priorities: Iterable[Priority]) -> Iterator[Message]:
        """What is visible to the user and not read, by seq."""
        state = self._state
        messages = state.rising(state.receivers_for(user_id), dict.fromkeys(priorities, 0), state.seq)
        return (
            message
            for message in messages
            if self._sees(user_id, message, now) and not state.has_read(user_id, message)
        )


def _by_priority(positions: Positions) -> dict[Priority, int]:
    return dict(zip(Priority, positions, strict=True))
