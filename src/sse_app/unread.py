"""`sse.unread`: tells streams opened with `unread=1` the user's counts whenever they change (SPEC §2), coalesced.

Whatever may change a watched user's counts only marks the user; `flush`, a few times a second, counts once for all
that happened since and tells the streams if the counts differ from what they were last told. Counts also change by
themselves when a message expires: the next such instant is remembered with the counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sse_app.clock import Clock
from sse_app.connection import Connection
from sse_app.hub import Hub
from sse_domain.inbox import UnreadCounts
from sse_domain.message import Message, ReceiverType
from sse_domain.ports import Inbox


class UnreadWatch:
    def __init__(self, inbox: Inbox, hub: Hub, clock: Clock) -> None:
        self._inbox = inbox
        self._hub = hub
        self._clock = clock
        self._told: dict[str, UnreadCounts] = {}
        self._changed: set[str] = set()

    def watch(self, user_id: str, counts: UnreadCounts) -> None:
        """A stream of this user wants to be told; it has just been told `counts`."""
        self._told[user_id] = counts
        self._changed.add(user_id)  # something may have changed between that count and the stream's opening

    def published(self, messages: Sequence[Message]) -> None:
        """These were applied; persisted ones change their receivers' counts."""
        if self._told:
            for message in messages:
                if message.seq is not None:
                    self._changed.update(self._watched_receivers(message))

    def changed(self, user_id: str) -> None:
        """Something else changed this user's counts: a read mark, a membership."""
        if user_id in self._told:
            self._changed.add(user_id)

    def changed_for_all(self) -> None:
        """Something changed counts at large: retention removed messages."""
        self._changed.update(self._told)

    async def flush(self) -> None:
        """Count for the users whose counts may have changed, and tell their streams if they did.

        Raises StoreUnavailable; whoever was not told then stays marked.
        """
        now = self._clock.now()
        self._changed.update(user for user, counts in self._told.items() if _due(counts.next_expiry, now))
        for user_id in tuple(self._changed):
            self._changed.discard(user_id)
            streams = self._watching_streams(user_id)
            if not streams:
                self._told.pop(user_id, None)
                continue
            try:
                counts = await self._inbox.unread(user_id, self._clock.now())
            except BaseException:
                self._changed.add(user_id)
                raise
            before = self._told.get(user_id)
            self._told[user_id] = counts
            if counts != before:
                for connection in streams:
                    connection.tell_unread(counts)

    def _watched_receivers(self, message: Message) -> Iterable[str]:
        kind, identity = message.receiver
        if kind is ReceiverType.BROADCAST:
            return self._told
        if kind is ReceiverType.USER:
            return (identity,) if identity in self._told else ()
        if kind is ReceiverType.GROUP:
            users = (connection.user_id for connection in self._hub.groups.get(identity or "", ()))
            return [user for user in users if user in self._told]
        return ()

    def _watching_streams(self, user_id: str) -> list[Connection]:
        user = self._hub.users.get(user_id)
        return [] if user is None else [c for c in user.connections if c.wants_unread]


def _due(instant: datetime | None, now: datetime) -> bool:
    return instant is not None and instant <= now
