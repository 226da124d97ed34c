"""Opening a stream: where it starts, and how it joins the feed without a gap (SPEC §2 Streams, §3.3, §3.5)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from datetime import datetime

from sse_app.clock import Clock
from sse_app.connection import Connection
from sse_app.delivered import DeliveredLedger
from sse_app.heartbeat import Heartbeat
from sse_app.hub import Hub, UserStreams
from sse_app.lookup import Known, Opening, OpeningLookup
from sse_app.presence import PresenceReporter
from sse_app.unread import UnreadWatch
from sse_domain.api import FrameWriter
from sse_domain.bounds import Caps
from sse_domain.cursor import START, Positions, encode_cursor
from sse_domain.delivery import Delivery
from sse_domain.errors import Overloaded
from sse_domain.message import Receiver, ReceiverType
from sse_domain.ports import Inbox, MessageLog
from sse_domain.replay import LogHead, ReplayMode, ResetReason, Start, StreamRequest, judge_cursor
from sse_domain.subscription import Audience

STORM_SECONDS = 5  # at least, before whoever is turned away comes back
CONCURRENT_READS = 16  # of what can't be looked up together: a storm waits here, and not for the database


class StreamOpener:
    def __init__(
        self,
        *,
        message_log: MessageLog,
        inbox: Inbox,
        lookup: OpeningLookup,
        hub: Hub,
        ledger: DeliveredLedger,
        unread: UnreadWatch,
        heartbeat: Heartbeat,
        presence: PresenceReporter,
        clock: Clock,
        caps: Caps,
        most_opening: int,
    ) -> None:
        self._log = message_log
        self._inbox = inbox
        self._lookup = lookup
        self._hub = hub
        self._ledger = ledger
        self._unread = unread
        self._heartbeat = heartbeat
        self._presence = presence
        self._clock = clock
        self._caps = caps
        self._most_opening = most_opening
        self._opening = 0
        self._turns = asyncio.Semaphore(CONCURRENT_READS)

    async def open(self, request: StreamRequest, writer: FrameWriter) -> Connection:
        """Open a stream into `writer`. Raises StoreUnavailable, and Overloaded when too many others are opening or wait
        for the log, with nothing written and nothing registered."""
        if self._opening + self._hub.flow.waiting_reads >= self._most_opening:
            raise Overloaded("too many streams are opening", retry_after=STORM_SECONDS)
        self._opening += 1
        try:
            connection = None
            while connection is None:
                connection = await self._open(request, writer)
            return connection
        finally:
            self._opening -= 1

    async def _open(self, request: StreamRequest, writer: FrameWriter) -> Connection | None:
        """None if the log was replaced meanwhile: then what was found out is of one that is no longer there."""
        epoch = self._hub.flow.head.epoch or (await self._lookup.head()).epoch
        with self._hub.opening(request.user_id) as user:
            start, known = await self._start(request, user)
            client_start = await self._client_start(request, start, known)
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
            considered = _considered(audience, start, known, named_client=request.client_id is not None)
            head, counts = self._hub.flow.head, known.unread
            connection = Connection(
                connection_id=secrets.token_urlsafe(12),
                client_id=audience.client_id or "",
                named_client=request.client_id is not None,
                client_start=client_start,
                first_visit=not (start.resumed or known.delivered.keys() >= set(_owed(request))),
                unread_told=counts if request.unread else None,
                connected_at=self._clock.now(),
                delivery=Delivery(audience, considered, head.seq, self._caps, self._hub.flow.budget),
                writer=writer,
                flow=self._hub.flow,
                forget=self._forget,
            )
            writer.drained = connection.drained
            writer.begin(
                encode_cursor(max(start.positions), head.epoch, start.positions),
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
                None if start.reset is None else start.reset.value,
            )
            self._hub.add(connection)
            self._heartbeat.add(connection)
            self._presence.opened(connection)
            if request.user_id is not None and connection.wants_unread:
                self._unread.watch(request.user_id)
            connection.pump()
            return connection

    def _forget(self, connection: Connection) -> None:
        self._heartbeat.remove(connection)
        self._presence.left(connection)
        self._ledger.left(connection)
        self._hub.remove(connection)
        self._unread.left(connection)

    async def _start(self, request: StreamRequest, user: UserStreams) -> tuple[Start, Known]:
        """Where the stream begins, and what is known of its readers."""
        reset: ResetReason | None = None
        if request.cursor is not None or request.since is not None:
            # A cursor may come from another process on the same log: judge it by the log, not by what this feed has
            # seen.
            head = await self._lookup.head()
            if request.cursor is not None:
                judged = judge_cursor(request.cursor, head)
                if isinstance(judged, Positions):
                    known = await self._known(request, user, readers=())
                    return Start(positions=judged, groups_after=0, resumed=True, complete=True), known
                reset = judged
            if request.since is not None:
                known = await self._known(request, user, _owed(request))
                return await self._start_since(request.since, head, reset), known
        known = await self._known(request, user, _owed(request))
        seq = self._hub.flow.head.seq
        first = await self._first_position(request, known, Positions.level(seq))
        return Start(positions=first, groups_after=seq, resumed=False, complete=reset is None, reset=reset), known

    async def _known(self, request: StreamRequest, user: UserStreams, readers: Sequence[Receiver]) -> Known:
        if request.user_id is None and not readers:
            return Known({}, None, 0, {})
        return await self._lookup.of(Opening(request.user_id, user, readers))

    async def _start_since(self, since: datetime, head: LogHead, reset: ResetReason | None) -> Start:
        async with self._turns:
            seq = min(await self._log.seq_before(since), head.seq)
        return Start(
            positions=Positions.level(seq),
            groups_after=0,
            resumed=False,
            # When a removed message was sent is known no more: only an older one that is kept shows a whole period.
            complete=reset is None and (seq > head.purged_through or not head.purged_through),
            reset=reset,
        )

    async def _client_start(self, request: StreamRequest, start: Start, known: Known) -> Positions:
        """What a named client is not owed that was never seen before: all that lies before this stream, unless it is
        addressed to the client."""
        client = _client(request)
        if client is None or start.resumed or client in known.delivered:
            return START
        if request.since is None and request.replay is not ReplayMode.NONE:
            return start.positions  # which lie before what is
        async with self._turns:
            owed = await self._log.first_owed(client, START, self._clock.now())
        return _just_before(owed, start.positions)

    async def _first_position(self, request: StreamRequest, known: Known, head: Positions) -> Positions:
        """Where a stream without a cursor begins: what its user, or else its named client, is still owed."""
        if request.replay is ReplayMode.NONE:
            return head
        user, client = _user(request), _client(request)
        if user is None:
            record = None if client is None else known.delivered.get(client)
            first = head if record is None else record.positions
        elif request.replay is ReplayMode.PENDING:
            first = _given(known, user)
        else:
            async with self._turns:
                oldest = await self._inbox.oldest_unread(user.id or "", self._clock.now())
            first = _just_before(oldest, head)
        if client is not None:
            # The user's other devices may have been given more than this one. Better one of their messages again
            # than one of this client's never.
            async with self._turns:
                owed = await self._log.first_owed(client, _given(known, client), self._clock.now())
            first = _just_before(owed, first)
        return first.nearest(head)


def _considered(audience: Audience, start: Start, known: Known, *, named_client: bool) -> Positions:
    """Up to where the stream need not read the log: where it starts, or how far its user was found to have nothing
    unread. What is for its client or for groups of its URL was not looked for."""
    uncounted = named_client or (audience.groups and start.groups_after < known.counted_through)
    if known.unread is None or known.unread.total or uncounted or audience.subscriptions != known.memberships:
        return start.positions
    return start.positions.furthest(Positions.level(known.counted_through))


def _user(request: StreamRequest) -> Receiver | None:
    return None if request.user_id is None else Receiver(ReceiverType.USER, request.user_id)


def _client(request: StreamRequest) -> Receiver | None:
    return None if request.client_id is None else Receiver(ReceiverType.CLIENT, request.client_id)


def _owed(request: StreamRequest) -> Sequence[Receiver]:
    """Of whom it matters what they were given, for a stream that begins anew."""
    user = _user(request) if request.replay is ReplayMode.PENDING else None
    return [reader for reader in (user, _client(request)) if reader is not None]


def _given(known: Known, reader: Receiver) -> Positions:
    record = known.delivered.get(reader)
    return START if record is None else record.positions


def _just_before(seqs: tuple[int | None, ...], otherwise: Positions) -> Positions:
    """Per priority, the position just before that seq if it lies below `otherwise`."""
    return Positions(
        *(bound if seq is None else min(seq - 1, bound) for seq, bound in zip(seqs, otherwise, strict=True))
    )
