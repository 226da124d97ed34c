"""Unread counts, and the cache that spares counting what is many (SPEC §4).

What was counted is kept with the stamp that the database had for the user before. It is taken again only if the stamp
is still the same and nothing counted has expired since: then counting would say the same. So a cache that is lost, or
comes back with old counts, costs a count and never makes one wrong. Every so often one that would be taken is counted
all the same, to show that; a difference would be an error of ours, and is logged as one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from sse_app.clock import Clock
from sse_domain.inbox import UnreadCounts, UnreadStamp
from sse_domain.ports import Inbox, UnreadCache, UnreadStamps

log = logging.getLogger("sse_hub.unread")

LEAST_KEPT = 200  # unread messages: to count fewer costs no more than to ask for a stamp
CHECK_EVERY = 50  # counts that were taken from the cache


class UnreadCounter:
    """`cache` None: everything is counted whenever it is asked for."""

    def __init__(self, inbox: Inbox, stamps: UnreadStamps, cache: UnreadCache | None, clock: Clock) -> None:
        self._inbox = inbox
        self._stamps = stamps
        self._cache = cache
        self._clock = clock
        self._taken = 0
        self._counted = 0
        self._checked = 0
        self._drifted = 0

    async def of(self, user_ids: Sequence[str]) -> dict[str, UnreadCounts]:
        """Each user's counts as they are now. Raises StoreUnavailable."""
        if self._cache is None:
            return await self._inbox.unread(user_ids, self._clock.now())
        known = await self._cache.get(user_ids)
        stamps = await self._stamps.stamps(list(known)) if known else {}
        now = self._clock.now()
        counts = {
            user_id: counts
            for user_id, (stamp, counts) in known.items()
            if stamp == stamps[user_id] and not _expired(counts, now)
        }
        before, self._taken = self._taken, self._taken + len(counts)
        if before // CHECK_EVERY != self._taken // CHECK_EVERY:
            counts |= await self._check(self._cache, *next(iter(counts.items())), stamps)
        missing = [user_id for user_id in user_ids if user_id not in counts]
        return counts | (await self._count(self._cache, missing, stamps) if missing else {})

    def statistics(self) -> Mapping[str, int] | None:
        """How many counts were taken from the cache and how many made; `drift` must be 0. None without a cache."""
        if self._cache is None:
            return None
        return {"hits": self._taken, "counted": self._counted, "checked": self._checked, "drift": self._drifted}

    async def _count(
        self, cache: UnreadCache, user_ids: Sequence[str], stamps: Mapping[str, UnreadStamp]
    ) -> dict[str, UnreadCounts]:
        """Count for these users and keep what is many. `stamps` are those that are known already."""
        counted = await self._inbox.unread(user_ids, self._clock.now())
        many = [user_id for user_id, counts in counted.items() if counts.total >= LEAST_KEPT]
        if new := [user_id for user_id in many if user_id not in stamps]:
            # A stamp is of use only to what was counted after it.
            stamps = {**stamps, **await self._stamps.stamps(new)}
            counted |= await self._inbox.unread(new, self._clock.now())
        self._counted += len(user_ids) + len(new)
        if many:
            await cache.put({user_id: (stamps[user_id], counted[user_id]) for user_id in many})
        return counted

    async def _check(
        self, cache: UnreadCache, user_id: str, taken: UnreadCounts, stamps: Mapping[str, UnreadStamp]
    ) -> dict[str, UnreadCounts]:
        """Count for a user whose counts were taken; if nothing has changed meanwhile, they must be the same."""
        now = self._clock.now()
        counted = await self._inbox.unread([user_id], now)
        right = counted[user_id]
        unchanged = await self._stamps.stamps([user_id]) == {user_id: stamps[user_id]} and not _expired(taken, now)
        if unchanged:
            self._checked += 1
            if (taken, taken.next_expiry) != (right, right.next_expiry):
                self._drifted += 1
                log.error("cached unread counts were wrong; they are put right")
                await cache.put({user_id: (stamps[user_id], right)})
        return counted


def _expired(counts: UnreadCounts, now: datetime) -> bool:
    """Whether a message that was counted has expired since."""
    return counts.next_expiry is not None and counts.next_expiry <= now
