"""The application: everything the hub does for its callers (the driving port), over HTTP and in-process alike."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

from sse_app.clock import Clock
from sse_app.connection import Connection
from sse_app.delivered import DeliveredLedger
from sse_app.disconnecting import Disconnections
from sse_app.hub import Hub
from sse_app.in_process import InProcessHub
from sse_app.memberships import Memberships
from sse_app.opening import StreamOpener
from sse_app.outbox import OutboxRelay, TransactionOutbox
from sse_app.overview import Overview
from sse_app.publisher import Publisher
from sse_app.unread import UnreadWatch
from sse_app.unread_counts import UnreadCounter
from sse_domain.api import FrameWriter, GroupInfo, Info, MarkedRead, MessagePage, PresenceInfo, Receipt
from sse_domain.cursor import MAX_SEQ, START, Cursor, Positions, encode_cursor, parse_cursor
from sse_domain.errors import InvalidInput, ShuttingDown, SseError, UnknownEventId
from sse_domain.inbox import InboxQuery, ReadSelection, TheseSeqs, UnreadCounts, UpTo, visible
from sse_domain.message import Draft, Receiver, check_identifier
from sse_domain.notes import HasRead
from sse_domain.ports import Bus, Inbox, MessageLog, Subscriptions
from sse_domain.presence import ClientInfo
from sse_domain.replay import StreamRequest
from sse_domain.subscription import Subscription, check_event_types

MAX_IDS = 1000


class HubService(InProcessHub):
    """One node's hub. What each method promises stands at `PushService`."""

    def __init__(
        self,
        *,
        message_log: MessageLog,
        inbox: Inbox,
        subscriptions: Subscriptions,
        hub: Hub,
        memberships: Memberships,
        publisher: Publisher,
        outbox: OutboxRelay,
        opener: StreamOpener,
        ledger: DeliveredLedger,
        unread: UnreadWatch,
        counter: UnreadCounter,
        disconnections: Disconnections,
        overview: Overview,
        bus: Bus,
        clock: Clock,
    ) -> None:
        self.leaving = False  # about to stop: not ready any more, and all else goes on
        self.draining = False  # and no stream is opened any more
        self.replaced = False  # by another on the same address: whoever asks there need not turn away
        self._log = message_log
        self._inbox = inbox
        self._subscriptions = subscriptions
        self._hub = hub
        self._memberships = memberships
        self._publisher = publisher
        self._outbox = outbox
        self._opener = opener
        self._ledger = ledger
        self._unread = unread
        self._counter = counter
        self._disconnections = disconnections
        self._overview = overview
        self._bus = bus
        self._clock = clock

    # Sending. The publisher's own coroutines, since wrapping each in another costs every message.

    def send(self, draft: Draft) -> Coroutine[Any, Any, Receipt]:
        return self._publisher.send(draft)

    def send_batch(self, drafts: Sequence[Draft]) -> Coroutine[Any, Any, list[Receipt | SseError]]:
        return self._publisher.send_batch(drafts)

    def outbox(self, transaction: object) -> TransactionOutbox:
        """Send inside a transaction of your own: an AsyncSession or AsyncConnection of SQLAlchemy on the hub's
        database."""
        return TransactionOutbox(transaction, self._publisher, self._outbox)

    # The inbox

    async def messages(self, query: InboxQuery, after: str | None = None) -> MessagePage:
        check_identifier("user_id", query.user_id)
        if after is not None:
            beyond = await self._positions_of(after)
            if beyond is None:
                raise UnknownEventId("after: no message of this log has that id, and no stream does")
            query = replace(query, after=beyond)
        delivered = await self._ledger.positions(query.user_id)
        entries = await self._inbox.messages(query, delivered, self._clock.now())
        if not entries:
            return MessagePage(entries=entries, next=None)
        last = entries[-1].message.seq or 0
        beyond = Positions.level(last)
        if query.after is not None and not query.descending:
            beyond = beyond.furthest(query.after)
        more = await self._inbox.messages(replace(query, after=beyond, limit=1), delivered, self._clock.now())
        epoch = self._hub.flow.head.epoch
        return MessagePage(entries=entries, next=encode_cursor(last, epoch, beyond) if more else None)

    async def mark_read(
        self,
        user_id: str,
        *,
        event_ids: Sequence[str] | None = None,
        up_to: str | None = None,
        everything: bool = False,
    ) -> MarkedRead:
        check_identifier("user_id", user_id)
        if (event_ids is not None) + (up_to is not None) + everything != 1:
            raise InvalidInput("body", "give exactly one of event_ids, up_to and all")
        selection: ReadSelection
        if event_ids is not None:
            selection = TheseSeqs(await self._seqs_of(event_ids))
        elif up_to is not None:
            selection = UpTo(await self._up_to(user_id, up_to))
        else:
            selection = UpTo(Positions.level(MAX_SEQ))
        try:
            marked = await self._inbox.mark_read(user_id, selection, self._clock.now())
        finally:
            self._unread.changed(user_id)  # also when the answer was lost
            self._bus.tell(HasRead(user_id))
        return MarkedRead(marked=marked, unread=await self.unread(user_id))

    async def unread(self, user_id: str) -> UnreadCounts:
        check_identifier("user_id", user_id)
        return (await self._counter.of([user_id]))[user_id]

    # Durable memberships

    async def subscribe(
        self, user_id: str, group: str, event_types: Sequence[str] | None = None
    ) -> tuple[Subscription, bool]:
        check_identifier("user_id", user_id)
        check_identifier("group", group)
        return await self._memberships.join(user_id, group, check_event_types(event_types))

    async def unsubscribe(self, user_id: str, group: str) -> bool:
        check_identifier("user_id", user_id)
        check_identifier("group", group)
        return await self._memberships.leave(user_id, group)

    async def subscriptions(self, user_id: str) -> list[Subscription]:
        check_identifier("user_id", user_id)
        return (await self._subscriptions.of_users([user_id]))[user_id]

    # Streams

    async def open(self, request: StreamRequest, writer: FrameWriter) -> Connection:
        if self.draining:
            raise ShuttingDown("this node is shutting down")
        connection = await self._opener.open(request, writer)
        if self.draining:  # it began meanwhile, and has ended only the streams that were open then
            connection.leave()
            raise ShuttingDown("this node is shutting down")
        if self.dismissed(request.client_id, request.user_id):
            connection.end("disconnected", reconnect=False)
        return connection

    def dismissed(self, client_id: str | None, user_id: str | None) -> bool:
        return self._disconnections.dismissed(client_id, user_id)

    async def disconnect(self, client_id: str, *, reconnect: bool = False) -> int:
        return await self._disconnections.end(Receiver.client(client_id), reconnect=reconnect)

    async def disconnect_user(self, user_id: str, *, reconnect: bool = False) -> int:
        return await self._disconnections.end(Receiver.user(user_id), reconnect=reconnect)

    # Operation

    async def group(self, group: str) -> GroupInfo:
        return await self._overview.group(group)

    async def clients(self, user_id: str | None, limit: int) -> list[ClientInfo]:
        return await self._overview.clients(user_id, limit)

    async def online(self, user_ids: Sequence[str]) -> list[PresenceInfo]:
        return await self._overview.online(user_ids)

    async def info(self) -> Info:
        return await self._overview.info()

    async def ready(self) -> bool:
        staying = self.replaced or not (self.leaving or self.draining)
        return staying and bool((await self._overview.storage_health())["healthy"])

    # Ids: wherever one is taken, a stream's id will do as well (SPEC §2). An event id that looks like one comes first.

    async def _positions_of(self, given: str) -> Positions | None:
        """What a stream's id covers, or up to where an event id's message lies; None for neither."""
        message = (await self._log.find([given])).get(given)
        if message is not None:
            return Positions.level(message.seq or 0)
        cursor = self._cursor_of(given)
        return None if cursor is None else cursor.positions

    async def _up_to(self, user_id: str, given: str) -> Positions:
        """As `_positions_of`, but START for an id to be ignored: unknown, or of a message that is not the user's.

        That of one which has just expired still says how far the user has seen.
        """
        message = (await self._log.find([given])).get(given)
        if message is None:
            cursor = self._cursor_of(given)
            return START if cursor is None else cursor.positions
        standing = {s.group: s for s in (await self._subscriptions.of_users([user_id]))[user_id]}
        seen = visible(message, user_id, standing, message.created_at)
        return Positions.level(message.seq or 0) if seen else START

    async def _seqs_of(self, given: Sequence[str]) -> tuple[int, ...]:
        if len(given) > MAX_IDS:
            raise InvalidInput("event_ids", f"at most {MAX_IDS} at once")
        found = await self._log.find(given)
        cursors = [self._cursor_of(text) for text in given if text not in found]
        named = [message.seq or 0 for message in found.values()]
        return (*named, *(cursor.seq for cursor in cursors if cursor is not None))

    def _cursor_of(self, text: str) -> Cursor | None:
        cursor = parse_cursor(text)
        return cursor if cursor is not None and cursor.epoch == self._hub.flow.head.epoch else None
