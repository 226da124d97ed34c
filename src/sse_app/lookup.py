"""What must be known of readers before their streams open, looked up for all of them together that open at one time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sse_app.delivered import DeliveredLedger
from sse_app.feed import Feed
from sse_app.gathering import Gathering
from sse_app.hub import Hub, UserStreams
from sse_app.unread_counts import UnreadCounter
from sse_domain.inbox import Delivered, UnreadCounts
from sse_domain.message import Receiver
from sse_domain.ports import Subscriptions
from sse_domain.replay import LogHead
from sse_domain.subscription import Subscription

OPENINGS_AT_ONCE = 256  # are looked up in one go


class Opening(NamedTuple):
    """A stream that opens: its user, if it has one, with that one's entry in the hub, which is held meanwhile; and the
    readers of whom it matters what they were given."""

    user_id: str | None
    user: UserStreams
    readers: Sequence[Receiver]


class Known(NamedTuple):
    """`delivered` has what those readers were given who were ever seen; `unread` the user's counts, if there is one: at
    least of all messages up to `counted_through` that are the user's with `memberships`."""

    delivered: Mapping[Receiver, Delivered]
    unread: UnreadCounts | None
    counted_through: int
    memberships: Mapping[str, Subscription]


class OpeningLookup:
    def __init__(
        self,
        *,
        subscriptions: Subscriptions,
        counter: UnreadCounter,
        hub: Hub,
        ledger: DeliveredLedger,
        feed: Feed,
    ) -> None:
        self._hub = hub
        self._subscriptions = subscriptions
        self._counter = counter
        self._ledger = ledger
        self._feed = feed
        # Apart from each other: a catch-up may have to wait for its turn, and not every opening needs one.
        self._openings = Gathering(self._look_up, OPENINGS_AT_ONCE)
        self._heads = Gathering(self._catch_up, OPENINGS_AT_ONCE)

    async def of(self, opening: Opening) -> Known:
        """What is known of its readers, read from now on; the user's memberships are loaded into the hub's entry.

        Raises StoreUnavailable.
        """
        return await self._openings.answer(opening)

    async def head(self) -> LogHead:
        """The log's head as it is from now on, up to which this node has applied it. Raises StoreUnavailable."""
        return await self._heads.answer(None)

    async def _catch_up(self, openings: Sequence[None]) -> list[LogHead]:
        head = await self._feed.catch_up()
        return [head] * len(openings)

    async def _look_up(self, openings: Sequence[Opening]) -> list[Known]:
        to_load = {opening.user_id: None for opening in openings if opening.user_id and not opening.user.loaded}
        if to_load:
            standing = await self._subscriptions.of_users(list(to_load))
            for opening in openings:
                if opening.user_id in standing:
                    opening.user.load(standing[opening.user_id])
        readers = {reader: None for opening in openings for reader in opening.readers}
        delivered = await self._ledger.of(readers.keys()) if readers else {}
        users = {opening.user_id: None for opening in openings if opening.user_id}
        head, memberships = self._hub.flow.head.seq, [dict(opening.user.subscriptions) for opening in openings]
        unread = await self._counter.of(list(users)) if users else {}
        return [
            Known(delivered, unread.get(opening.user_id or ""), head, theirs)
            for opening, theirs in zip(openings, memberships, strict=True)
        ]
