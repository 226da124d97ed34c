"""Unread counts kept in this process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from sse_domain.inbox import UnreadCounts, UnreadStamp
from sse_domain.ports import UnreadCache

CAPACITY = 10_000  # some ten megabytes


class MemoryUnreadCache(UnreadCache):
    """Keeps those of `capacity` users, and forgets who was not asked about for the longest time."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._kept = OrderedDict[str, tuple[UnreadStamp, UnreadCounts]]()  # the latest used at the end

    async def get(self, user_ids: Sequence[str]) -> dict[str, tuple[UnreadStamp, UnreadCounts]]:
        found = {user_id: self._kept[user_id] for user_id in user_ids if user_id in self._kept}
        for user_id in found:
            self._kept.move_to_end(user_id)
        return found

    async def put(self, counted: Mapping[str, tuple[UnreadStamp, UnreadCounts]]) -> None:
        for user_id, counts in counted.items():
            self._kept[user_id] = counts
            self._kept.move_to_end(user_id)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
