"""Durable group memberships, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest

from sse_adapters.memory.state import MemoryState
from sse_domain.ports import Subscriptions
from sse_domain.subscription import Joined, Membership, Subscription


class MemorySubscriptions(Subscriptions):
    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def join(self, user_id: str, group: str, event_types: tuple[str, ...] | None) -> Joined:
        standing = self._state.subscriptions_of(user_id).get(group)
        subscription = Subscription(
            user_id=user_id,
            group=group,
            event_types=event_types,
            joined_after=self._state.seq if standing is None else standing.joined_after,
        )
        if subscription != standing:
            self._state.put_subscription(subscription)
        return Joined(subscription, standing is None, self._state.version_of(subscription))

    async def leave(self, user_id: str, group: str) -> int | None:
        standing = self._state.subscriptions_of(user_id).get(group)
        if standing is None:
            return None
        self._state.drop_subscription(standing)
        return self._state.memberships

    async def changed_since(self, version: int, limit: int) -> list[Membership]:
        return self._state.changed_since(version)[:limit]

    async def of_users(self, user_ids: Sequence[str]) -> dict[str, list[Subscription]]:
        return {
            user_id: [subscription for _, subscription in sorted(self._state.subscriptions_of(user_id).items())]
            for user_id in user_ids
        }

    async def of_group(self, group: str, limit: int) -> list[Subscription]:
        subscribers = self._state.subscribers_of(group)
        return [subscribers[user_id] for user_id in nsmallest(limit, subscribers)]
