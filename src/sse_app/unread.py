"""`sse.unread`: tells streams opened with `unread=1` the user's counts whenever they change (SPEC §2), coalesced.

Whatever may change a watched user's counts only marks the user; `flush`, a few times a second, counts once for all
that happened since and tells the streams if the counts differ from what they were last told. Counts also change by
themselves when a message expires: the next such instant is remembered with the counts. What users mark as read on
another node is told over the bus, and looked for in the store, since what is told may be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sse_app.clock import Clock
from sse_app.connection import Connection
from sse_app.hub import Hub
from sse_app.unread_counts import UnreadCounter
from sse_domain.inbox import UnreadCounts
from sse_domain.message import Message, ReceiverType
from sse_domain.ports import UnreadStamps

USERS_AT_ONCE = 500  # are counted for in one transaction, and told without a pause

MARKINGS_AT_ONCE = 1000
# A marking is dated before it is committed, and found only after: longer than most transactions take.
LOOK_BACK = timedelta(seconds=5)


class UnreadWatch:
    def __init__(self, counter: UnreadCounter, stamps: UnreadStamps, hub: Hub, clock: Clock) -> None:
        self._counter = counter
        self._stamps = stamps
        self._looked_at: datetime | None = None
        self._hub = hub
        self._clock = clock
        self._watched: dict[str, datetime | None] = {}  # users with such a stream; when their counts next expire
        self._changed: set[str] = set()

    def watch(self, user_id: str) -> None:
        """A stream of this user wants to be told; it was told what it opened with."""
        self._watched.setdefault(user_id, None)
        self._changed.add(user_id)  # something may have changed between that count and the stream's opening

    def left(self, connection: Connection) -> None:
        """A stream has ended; its user is watched no more if it was the last to be told."""
        user_id = connection.user_id
        if user_id is not None and connection.wants_unread and not self._watching_streams(user_id):
            self._watched.pop(user_id, None)
            self._changed.discard(user_id)

    def published(self, messages: Sequence[Message]) -> None:
        """These were applied; persisted ones change their receivers' counts."""
        if self._watched:
            for message in messages:
                if message.seq is not None:
                    self._changed.update(self._watched_receivers(message))

    def changed(self, user_id: str) -> None:
        """Something else changed this user's counts: a read mark, a membership."""
        if user_id in self._watched:
            self._changed.add(user_id)

    def changed_for_all(self) -> None:
        """Something changed counts at large: retention removed messages."""
        self._changed.update(self._watched)

    async def look_for_marks(self) -> None:
        """Notice what was marked as read through any node. Raises StoreUnavailable; it is then looked for again."""
        now = self._clock.now()
        if self._watched:
            since = (self._looked_at or now) - LOOK_BACK
            users = await self._stamps.marked_since(since, MARKINGS_AT_ONCE)
            if len(users) == MARKINGS_AT_ONCE:
                self.changed_for_all()
            for user_id in users:
                self.changed(user_id)
        self._looked_at = now

    async def flush(self) -> None:
        """Count for the users whose counts may have changed, and tell their streams that were last told otherwise.

        Raises StoreUnavailable; whoever was not told then stays marked.
        """
        now = self._clock.now()
        self._changed.update(user for user, expiry in self._watched.items() if expiry is not None and expiry <= now)
        waiting = tuple(self._changed)
        for start in range(0, len(waiting), USERS_AT_ONCE):
            some = [user_id for user_id in waiting[start : start + USERS_AT_ONCE] if user_id in self._changed]
            for user_id in some:
                self._changed.discard(user_id)
            try:
                counts = await self._counter.of(some)
            except BaseException:
                self._changed.update(some)
                raise
            for user_id in some:
                self._tell(user_id, counts[user_id])

    def _tell(self, user_id: str, counts: UnreadCounts) -> None:
        if user_id in self._watched:
            self._watched[user_id] = counts.next_expiry
        for connection in self._watching_streams(user_id):
            connection.tell_unread(counts)

    def _watched_receivers(self, message: Message) -> Iterable[str]:
        kind, identity = message.receiver
        if kind is ReceiverType.BROADCAST:
            return self._watched
        if kind is ReceiverType.USER:
            return (identity,) if identity in self._watched else ()
        if kind is ReceiverType.GROUP:
            users = (connection.user_id for connection in self._hub.groups.get(identity or "", ()))
            return [user for user in users if user in self._watched]
        return ()

    def _watching_streams(self, user_id: str) -> list[Connection]:
        user = self._hub.users.get(user_id)
        return [] if user is None else [c for c in user.connections if c.wants_unread]
