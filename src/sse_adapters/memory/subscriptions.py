"""Durable group memberships, in memory."""

from __future__ import annotations

from heapq import nsmallest

from sse_adapters.memory.state import MemoryState
from sse_domain.ports import Subscriptions
from sse_domain.subscription import Subscription


class MemorySubscriptions(Subscriptions):
    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def join(self, user_id: str, group: str, event_types: tuple[str, ...] | None) -> tuple[Subscription, bool]:
        standing = self._state.subscriptions_of(user_id).get(group)
        subscription = Subscription(
            user_id=user_id,
            group=group,
            event_types=event_types,
            joined_after=self._state.seq if standing is None else standing.joined_after,
        )
        self._state.put_subscription(subscription)
        return subscription, standing is None

    async def leave(self, user_id: str, group: str) -> bool:
        standing = self._state.subscriptions_of(user_id).get(group)
        if standing is None:
            return False
        self._state.drop_subscription(standing)
        return True

    async def of_user(self, user_id: str) -> list[Subscription]:
        return [subscription for _, subscription in sorted(self._state.subscriptions_of(user_id).items())]

    async def of_group(self, group: str, limit: int) -> list[Subscription]:
        subscribers = self._state.subscribers_of(group)
        return [subscribers[user_id] for user_id in nsmallest(limit, subscribers)]
