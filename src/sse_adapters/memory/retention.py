"""What the janitor removes, in memory. With a message go its places in the indexes and its read marks."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

from sse_adapters.memory.state import MemoryState
from sse_domain.ports import Retention


class MemoryRetention(Retention):
    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def remove_expired(self, now: datetime, limit: int) -> int:
        return self._remove(list(islice(self._state.take_expired(now), limit)))

    async def remove_older(self, than: datetime, limit: int) -> int:
        state = self._state
        every = state.seqs.rising(0, state.seq)
        oldest = list(islice((seq for seq in every if state.messages[seq].created_at < than), limit))
        state.purged_through = max(state.purged_through, *oldest, 0)
        state.removals += bool(oldest)
        return self._remove(oldest)

    async def forget_readers(self, unseen_since: datetime, limit: int) -> int:
        delivered = self._state.delivered
        unseen = (reader for reader, given in delivered.items() if given.seen_at < unseen_since)
        forgotten = list(islice(unseen, limit))
        for reader in forgotten:
            del delivered[reader]
        return len(forgotten)

    async def forget_markings(self, unmarked_since: datetime, limit: int) -> int:
        markings = self._state.markings
        unmarked = (user_id for user_id, marking in markings.items() if marking.made_at < unmarked_since)
        forgotten = list(islice(unmarked, limit))
        for user_id in forgotten:
            del markings[user_id]
        self._state.removals += bool(forgotten)
        return len(forgotten)

    def _remove(self, seqs: list[int]) -> int:
        for seq in seqs:
            self._state.remove(seq)
        return len(seqs)
