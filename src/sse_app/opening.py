"""Opening a stream: where it starts, and how it joins the feed without a gap (SPEC §2 Streams, §3.3, §3.5)."""

from __future__ import annotations

import asyncio
import secrets

from sse_app.clock import Clock
from sse_app.connection import Connection
from sse_app.delivered import DeliveredLedger
from sse_app.feed import Feed
from sse_app.heartbeat import Heartbeat
from sse_app.hub import Hub
from sse_app.unread import UnreadWatch
from sse_domain.cursor import START, Positions, encode_cursor
from sse_domain.delivery import Caps, Delivery
from sse_domain.message import Receiver, ReceiverType
from sse_domain.ports import FrameWriter, Inbox, MessageLog, Subscriptions
from sse_domain.replay import ReplayMode, ResetReason, Start, StreamRequest, judge_cursor
from sse_domain.subscription import Audience

CONCURRENT_OPENINGS = 16  # a storm of readers waits here, each at its turn, and not for the database


class StreamOpener:
    def __init__(
        self,
        *,
        message_log: MessageLog,
        inbox: Inbox,
        subscriptions: Subscriptions,
        hub: Hub,
        feed: Feed,
        ledger: DeliveredLedger,
        unread: UnreadWatch,
        heartbeat: Heartbeat,
        clock: Clock,
        caps: Caps,
    ) -> None:
        self._log = message_log
        self._inbox = inbox
        self._subscriptions = subscriptions
        self._hub = hub
        self._feed = feed
        self._ledger = ledger
        self._unread = unread
        self._heartbeat = heartbeat
        self._clock = clock
        self._caps = caps
        self._turns = asyncio.Semaphore(CONCURRENT_OPENINGS)

    async def open(self, request: StreamRequest, writer: FrameWriter) -> Connection:
        """Open a stream into `writer`. Raises StoreUnavailable, with nothing written and nothing registered."""
        async with self._turns:
            connection = None
            while connection is None:
                connection = await self._open(request, writer)
            return connection

    async def _open(self, request: StreamRequest, writer: FrameWriter) -> Connection | None:
        """None if the log was replaced meanwhile: then what was found out is of one that is no longer there."""
        epoch = self._hub.flow.head.epoch or (await self._feed.catch_up()).epoch
        with self._hub.opening(request.user_id) as user:
            if request.user_id is not None and not user.loaded:
                user.load(await self._subscriptions.of_user(request.user_id))
            start = await self._start(request)
            counts = None
            if request.user_id is not None:
                counts = await self._inbox.unread(request.user_id, self._clock.now())
            if self._hub.flow.head.epoch != epoch:
                return None
            # No awaits from here on: the position, the first frames and the registration are one step for the feed.
            audience = Audience(
                client_id=request.client_id or secrets.token_urlsafe(12),
                user_id=request.user_id,
                groups=frozenset(request.groups),
                groups_after=start.groups_after,
                subscriptions=user.subscriptions,
                event_types=None if request.event_types is None else frozenset(request.event_types),
            )
            head = self._hub.flow.head
            connection = Connection(
                connection_id=secrets.token_urlsafe(12),
                client_id=audience.client_id or "",
                named_client=request.client_id is not None,
                unread_told=counts if request.unread else None,
                connected_at=self._clock.now(),
                delivery=Delivery(audience, start.positions, head.seq, self._caps, self._hub.flow.budget),
                writer=writer,
                flow=self._hub.flow,
                forget=self._forget,
            )
            writer.drained = connection.drained
            writer.stand(encode_cursor(max(start.positions), head.epoch, start.positions), heartbeat=False)
            writer.control(
                "sse.open",
                {
                    "connection_id": connection.connection_id,
                    "client_id": connection.client_id,
                    "user_id": request.user_id,
                    "groups": sorted(audience.groups | audience.subscriptions.keys()),
                    "resumed": start.resumed,
                    "complete": start.complete,
                    "unread": None if counts is None else counts.payload(request.user_id),
                    "heartbeat_seconds": self._heartbeat.seconds,
                },
            )
            if start.reset is not None:
                writer.control("sse.reset", {"reason": start.reset.value})
            self._hub.add(connection)
            self._heartbeat.add(connection)
            if request.user_id is not None and connection.wants_unread:
                self._unread.watch(request.user_id)
            connection.pump()
            return connection

    def _forget(self, connection: Connection) -> None:
        self._heartbeat.remove(connection)
        self._ledger.left(connection)
        self._hub.remove(connection)
        self._unread.left(connection)

    async def _start(self, request: StreamRequest) -> Start:
        if request.cursor is None and request.since is None:
            return await self._start_anew(request, reset=None)
        # A cursor may come from another process on the same log: judge it by the log, not by what this feed has seen.
        head = await self._feed.catch_up()
        reset: ResetReason | None = None
        if request.cursor is not None:
            judged = judge_cursor(request.cursor, head)
            if isinstance(judged, Positions):
                return Start(positions=judged, groups_after=0, resumed=True, complete=True)
            reset = judged
        if request.since is None:
            return await self._start_anew(request, reset)
        seq = min(await self._log.seq_before(request.since), head.seq)
        return Start(
            positions=Positions.level(seq),
            groups_after=0,
            resumed=False,
            # When a removed message was sent is known no more: only an older one that is kept shows a whole period.
            complete=reset is None and (seq > head.purged_through or not head.purged_through),
            reset=reset,
        )

    async def _start_anew(self, request: StreamRequest, reset: ResetReason | None) -> Start:
        head = self._hub.flow.head.seq
        first = await self._first_position(request, Positions.level(head))
        return Start(positions=first, groups_after=head, resumed=False, complete=reset is None, reset=reset)

    async def _first_position(self, request: StreamRequest, head: Positions) -> Positions:
        """Where a stream without a cursor begins: what its user, or else its named client, is still owed."""
        if request.replay is ReplayMode.NONE:
            return head
        client = None if request.client_id is None else Receiver(ReceiverType.CLIENT, request.client_id)
        client_record = None if client is None else await self._ledger.of(client)
        if request.user_id is None:
            first = head if client_record is None else client_record.positions
        elif request.replay is ReplayMode.PENDING:
            first = await self._ledger.positions(request.user_id)
        else:
            oldest = await self._inbox.oldest_unread(request.user_id, self._clock.now())
            first = _just_before(oldest, head)
        if client is not None:
            # The user's other devices may have been given more than this one. Better one of their messages again
            # than one of this client's never.
            given = START if client_record is None else client_record.positions
            first = _just_before(await self._log.first_owed(client, given, self._clock.now()), first)
        return first.nearest(head)


def _just_before(seqs: tuple[int | None, ...], otherwise: Positions) -> Positions:
    """Per priority, the position just before that seq if it lies below `otherwise`."""
    return Positions(
        *(bound if seq is None else min(seq - 1, bound) for seq, bound in zip(seqs, otherwise, strict=True))
    )
