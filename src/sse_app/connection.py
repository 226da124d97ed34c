"""One open stream: a Delivery (what to give), a FrameWriter (where to), and the pump between them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from sse_app.clock import Clock
from sse_domain.api import ClientInfo, OpenStream
from sse_domain.cursor import Positions, encode_cursor, encode_level
from sse_domain.delivery import Budget, Delivery, Given, run_at_once
from sse_domain.errors import Unavailable
from sse_domain.inbox import UnreadCounts
from sse_domain.message import Message, Receiver, ReceiverType
from sse_domain.ports import FrameWriter, MessageLog
from sse_domain.replay import ReadRequest

log = logging.getLogger("sse_hub.streams")

WRITE_MESSAGES = 64  # what one write may carry: enough to coalesce, small enough to let urgent ones in between
WRITE_BYTES = 128 * 1024


class FeedHead:
    """Where this node's feed stands: shared by all streams, moved by the hub alone."""

    __slots__ = ("epoch", "level_cursor", "seq")

    def __init__(self) -> None:
        self.epoch = ""
        self.seq = 0
        self.level_cursor = ""

    def move(self, seq: int) -> None:
        self.seq = seq
        self.level_cursor = encode_level(seq, self.epoch)


class SharedRun(NamedTuple):
    """Messages that several streams are handed at once. `batch` is what a level one is to write; `newest` has the last
    persisted message of each priority in it."""

    messages: Sequence[Message]
    batch: Sequence[tuple[Message, str | None]]
    newest: Sequence[Message]


class StreamFlow:
    """What all streams share: the head, the log, a bound on concurrent reads of it, a budget, and counters."""

    def __init__(self, message_log: MessageLog, clock: Clock, budget: Budget, concurrent_reads: int) -> None:
        self.head = FeedHead()
        self.budget = budget
        self.clock = clock
        self.delivered = 0
        self.replayed = 0
        self.dropped = 0
        self._log = message_log
        self._concurrent_reads = concurrent_reads
        self._waiting: deque[tuple[Connection, ReadRequest]] = deque()
        self.readers: set[asyncio.Task[None]] = set()

    def shared_run(self, messages: Sequence[Message]) -> SharedRun:
        """A run of messages, the newest that the feed has applied, made ready for all streams that admit just these."""
        given = run_at_once(messages, self.head.seq)
        newest = {item.message.priority: item.message for item in given if item.message.seq is not None}
        return SharedRun(messages, [(item.message, self.cursor(item)) for item in given], tuple(newest.values()))

    def cursor(self, given: Given) -> str | None:
        """The cursor of a message's frame; None for an ephemeral one."""
        seq = given.message.seq
        if seq is None:
            return None
        if given.positions is None:
            return encode_level(seq, self.head.epoch)
        return encode_cursor(seq, self.head.epoch, given.positions)

    def start_read(self, connection: Connection, request: ReadRequest) -> None:
        """Read the log for a stream that is behind, when its turn comes, and pump it then."""
        self._waiting.append((connection, request))
        if len(self.readers) < self._concurrent_reads:
            reader = asyncio.get_running_loop().create_task(self._read_for_all())
            self.readers.add(reader)

    async def _read_for_all(self) -> None:
        reader = asyncio.current_task()
        assert reader is not None
        try:
            while self._waiting:
                connection, request = self._waiting.popleft()
                if not connection.closed:
                    await self._read(connection, request)
        finally:  # at once, and not by a callback: whoever asks for a read just then must not count on this reader
            self.readers.discard(reader)

    async def _read(self, connection: Connection, request: ReadRequest) -> None:
        delivery = connection.delivery
        try:
            page = await self._log.replay(delivery.audience, request, self.clock.now())
            delivery.page(page)
        except Exception as error:
            # The stream stays open and stays behind: the next sweep asks again.
            delivery.read_failed()
            if isinstance(error, Unavailable):
                log.warning("a stream waits for the log: %s", error.detail)
            else:
                log.exception("reading the log for a stream failed")
            return
        self.replayed += len(page.messages)
        connection.pump()

    async def stop(self) -> None:
        """End running reads; their streams are closed, so nothing would come of them."""
        for reader in self.readers:
            reader.cancel()
        await asyncio.gather(*self.readers, return_exceptions=True)


class Connection(OpenStream):
    """An open stream of a client, and of a user if it has one.

    `unread_told` are the counts that a stream which wants to be told them was told last; None for one that does not.
    """

    __slots__ = (
        "_flow",
        "_forget",
        "blocked_since",
        "client_id",
        "closed",
        "connected_at",
        "connection_id",
        "delivery",
        "named_client",
        "recorded",
        "unread_owed",
        "unread_told",
        "wants_unread",
        "writer",
    )

    def __init__(
        self,
        *,
        connection_id: str,
        client_id: str,
        named_client: bool,
        unread_told: UnreadCounts | None,
        connected_at: datetime,
        delivery: Delivery,
        writer: FrameWriter,
        flow: StreamFlow,
        forget: Callable[[Connection], None],
    ) -> None:
        self.connection_id = connection_id
        self.client_id = client_id
        self.named_client = named_client
        self.wants_unread = unread_told is not None
        self.unread_told = unread_told
        self.connected_at = connected_at
        self.delivery = delivery
        self.writer = writer
        self.closed = False
        self.blocked_since: float | None = None
        self.recorded: tuple[int, ...] = (0, 0, 0)
        self.unread_owed: UnreadCounts | None = None
        self._flow = flow
        self._forget = forget

    @property
    def user_id(self) -> str | None:
        return self.delivery.audience.user_id

    def readers(self) -> list[Receiver]:
        """Whom this stream stands for: its user, and its client if the application named it."""
        readers = []
        if self.user_id is not None:
            readers.append(Receiver(ReceiverType.USER, self.user_id))
        if self.named_client:
            readers.append(Receiver(ReceiverType.CLIENT, self.client_id))
        return readers

    def given(self) -> Positions:
        """What counts as delivered to its readers: nothing for a filtered stream (SPEC §4, pending)."""
        if self.delivery.audience.event_types is not None:
            return Positions(0, 0, 0)
        return Positions(*self.delivery.given)

    def take(self, run: SharedRun) -> None:
        """Take messages of its audience that the feed has just applied: at once if it can, else into the lanes."""
        delivery = self.delivery
        if self.closed:
            return
        if not delivery.level or self.writer.blocked:
            for message in run.messages:
                delivery.offer(message)
            self.pump()
            return
        for message in run.newest:
            delivery.gave(message)
        self._flow.delivered += len(run.batch)
        self._give(run.batch)

    def pump(self) -> None:
        """Write whatever may be written now; if the log must be read first, start that."""
        flow, delivery, writer = self._flow, self.delivery, self.writer
        while not (self.closed or writer.blocked):
            given = delivery.pull(flow.clock.now(), flow.head.seq, limit=WRITE_MESSAGES, max_bytes=WRITE_BYTES)
            if not given:
                request = delivery.read_request(flow.head.seq)
                if request is not None:
                    flow.start_read(self, request)
                return
            flow.delivered += len(given)
            self._give([(item.message, flow.cursor(item)) for item in given])

    def drained(self) -> None:
        """The writer takes frames again."""
        self.blocked_since = None
        owed, self.unread_owed = self.unread_owed, None
        if owed is not None:
            self.tell_unread(owed)
        self.pump()

    def tell_unread(self, counts: UnreadCounts) -> None:
        """Write `sse.unread` if the stream was last told otherwise; while it is blocked, keep the newest counts."""
        if self.closed:
            return
        if self.writer.blocked:
            self.unread_owed = counts
        elif counts != self.unread_told:
            self.unread_told = counts
            self.writer.control("sse.unread", counts.payload(self.user_id))

    def beat(self) -> None:
        """Heartbeat: a sign of life that also moves the reader's cursor on (SPEC §2)."""
        if not (self.closed or self.writer.blocked):
            self.writer.stand(self.cursor(), heartbeat=True)

    def cursor(self) -> str:
        """The cursor for a frame that carries no message."""
        head = self._flow.head
        if self.delivery.level:
            return head.level_cursor
        positions = self.delivery.positions(head.seq)
        return encode_cursor(max(positions), head.epoch, positions)

    def end(self, reason: str, *, reconnect: bool, retry_ms: int | None = None) -> None:
        """End the stream from this side, with `sse.close` as its last frame."""
        if not self.closed:
            self.leave()
            self.writer.close(reason, reconnect=reconnect, retry_ms=retry_ms)

    def leave(self) -> None:
        if not self.closed:
            self.closed = True
            self._forget(self)
            self._flow.dropped += self.delivery.dropped
            self.delivery.close()

    def _give(self, batch: Sequence[tuple[Message, str | None]]) -> None:
        """Write; a stream that can't is broken, and must not keep others from getting theirs."""
        try:
            self.writer.give(batch)
        except Exception:
            log.exception("a stream is ended: its messages could not be written")
            self.end("internal_error", reconnect=True)

    def info(self) -> ClientInfo:
        audience = self.delivery.audience
        return ClientInfo(
            connection_id=self.connection_id,
            client_id=self.client_id,
            user_id=audience.user_id,
            groups=sorted(audience.groups | audience.subscriptions.keys()),
            event_types=None if audience.event_types is None else sorted(audience.event_types),
            state=self.delivery.state.value,
            connected_at=self.connected_at,
        )
