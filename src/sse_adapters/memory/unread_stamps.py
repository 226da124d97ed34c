"""Whether what users have not read may have changed, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from heapq import nlargest

from sse_adapters.memory.state import MemoryState
from sse_domain.inbox import UnreadStamp
from sse_domain.message import Priority
from sse_domain.ports import UnreadStamps


class MemoryUnreadStamps(UnreadStamps):
    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def stamps(self, user_ids: Sequence[str]) -> dict[str, UnreadStamp]:
        return {user_id: self._stamp(user_id) for user_id in user_ids}

    def _stamp(self, user_id: str) -> UnreadStamp:
        state = self._state
        newest = next(state.falling(state.receivers_for(user_id), Priority, state.seq + 1), None)
        marking = state.markings.get(user_id)
        return UnreadStamp(
            epoch=state.epoch,
            memberships=state.memberships,
            removals=state.removals,
            last_seq=0 if newest is None else newest.seq or 0,
            marking=0 if marking is None else marking.number,
        )

    async def marked_since(self, since: datetime, limit: int) -> list[str]:
        markings = self._state.markings
        marked = (user_id for user_id, marking in markings.items() if marking.made_at >= since)
        return nlargest(limit, marked, key=lambda user_id: markings[user_id].made_at)
