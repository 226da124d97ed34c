"""Joining and leaving groups for good: in effect on the user's open streams, on every node, once it is answered.

Persisted messages need no more than that the log counts a change (feed.py). But what is only in passing goes by what
the node knows that gives it to its streams. So the other nodes are asked whether they know of the change. It is not
waited long for that: a node that has just died can't say, and one that hears nothing learns of it by the tick.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress

from sse_app.feed import Feed
from sse_app.questions import ASKING_SECONDS, Questions
from sse_domain.errors import NodesUnavailable
from sse_domain.notes import LearnMemberships
from sse_domain.ports import Bus, Subscriptions
from sse_domain.subscription import Membership, Subscription


class Memberships:
    def __init__(self, subscriptions: Subscriptions, feed: Feed, bus: Bus, questions: Questions) -> None:
        self._subscriptions = subscriptions
        self._feed = feed
        self._bus = bus
        self._questions = questions

    async def join(self, user_id: str, group: str, event_types: tuple[str, ...] | None) -> tuple[Subscription, bool]:
        """The subscription that stands then, and whether it is new. Raises StoreUnavailable."""
        async with self._feed.changing():
            subscription, new, version = await self._subscriptions.join(user_id, group, event_types)
            epoch = self._feed.changed(Membership(user_id, group, subscription, version))
        await self._known_everywhere(epoch, version)
        return subscription, new

    async def leave(self, user_id: str, group: str) -> bool:
        """Whether there was anything to leave. Raises StoreUnavailable."""
        async with self._feed.changing():
            version = await self._subscriptions.leave(user_id, group)
            if version is None:
                return False
            epoch = self._feed.changed(Membership(user_id, group, None, version))
        await self._known_everywhere(epoch, version)
        return True

    async def _known_everywhere(self, epoch: str, version: int) -> None:
        if not self._bus.health()["healthy"]:
            return
        question = LearnMemberships(secrets.token_hex(8), epoch, version)
        with suppress(NodesUnavailable, TimeoutError):
            async with asyncio.timeout(ASKING_SECONDS):
                await self._questions.ask(question, times=1)
