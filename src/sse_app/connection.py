"""One open stream: a Delivery (what to give), a FrameWriter (where to), and the pump between them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from datetime import datetime

from sse_app.flow import SharedRun, StreamFlow
from sse_domain.api import FrameWriter, OpenStream
from sse_domain.cursor import Positions, encode_cursor
from sse_domain.delivery import Delivery
from sse_domain.inbox import UnreadCounts
from sse_domain.message import Receiver, ReceiverType
from sse_domain.presence import ClientInfo

log = logging.getLogger("sse_hub.streams")

WRITE_MESSAGES = 64  # what one write may carry: enough to coalesce, small enough to let urgent ones in between
WRITE_BYTES = 128 * 1024


class Connection(OpenStream):
    """An open stream of a client, and of a user if it has one.

    `addressed`: a message was sent to its client although the application did not name it.
    `first_visit`: one of its readers was never seen before; that it came is recorded though it is given nothing.
    `client_start` is what a client is not owed that was never seen before: what it was not there for.
    `unread_told` are the counts that a stream which wants to be told them was told last; None for one that does not.
    """

    __slots__ = (
        "_flow",
        "_forget",
        "addressed",
        "blocked_since",
        "client_id",
        "client_start",
        "closed",
        "connected_at",
        "connection_id",
        "delivery",
        "event_types",
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
        client_start: Positions,
        first_visit: bool,
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
        self.addressed = False
        self.wants_unread = unread_told is not None
        self.unread_told = unread_told
        self.connected_at = connected_at
        self.delivery = delivery
        self.event_types = delivery.audience.event_types
        self.writer = writer
        self.closed = False
        self.blocked_since: float | None = None
        self.client_start = client_start
        self.recorded = [] if first_visit else [0, 0, 0]
        self.unread_owed: UnreadCounts | None = None
        self._flow = flow
        self._forget = forget

    @property
    def user_id(self) -> str | None:
        return self.delivery.audience.user_id

    def audience_key(self) -> Hashable:
        """What streams share whose audiences admit the same of the log: a user's memberships go with the user."""
        audience = self.delivery.audience
        client_id = self.client_id if self.named_client or self.addressed else None
        return audience.user_id, client_id, audience.groups, audience.groups_after, audience.event_types

    def readers(self) -> list[Receiver]:
        """Whom this stream stands for: its user, and its client if the application named it."""
        readers = []
        if self.user_id is not None:
            readers.append(Receiver(ReceiverType.USER, self.user_id))
        if self.named_client:
            readers.append(Receiver(ReceiverType.CLIENT, self.client_id))
        return readers

    def record(self) -> bool:
        """Take what it was given as recorded; whether that is anything new that counts as delivered (see `given`)."""
        given = self._given()
        if self.recorded == given:
            return False
        self.recorded = list(given)
        return True

    def given(self, reader: Receiver) -> Positions:
        """What counts as delivered to one of its `readers`."""
        given = Positions(*self._given())
        return given.furthest(self.client_start) if reader.type is ReceiverType.CLIENT else given

    def _given(self) -> list[int]:
        """Nothing for a filtered stream (SPEC §4, pending)."""
        return [0, 0, 0] if self.event_types is not None else self.delivery.given

    def take(self, run: SharedRun) -> None:
        """Take messages of its audience that the feed has just applied: at once if it can, else into the lanes."""
        writer = self.writer
        if self.delivery.level and not writer.blocked:
            for message in run.newest:
                self.delivery.gave(message)
            self._flow.delivered += len(run.batch)
            try:
                writer.give(run.batch)
            except Exception as error:
                self.broken(error)
            else:
                if writer.blocked:
                    self.place()
        elif not self.closed:
            for message in run.messages:
                self.delivery.offer(message)
            self.pump()

    def pump(self) -> None:
        """Write whatever may be written now; if the log must be read first, start that."""
        flow, delivery, writer = self._flow, self.delivery, self.writer
        while not (self.closed or writer.blocked):
            given = delivery.pull(flow.clock.now(), flow.head.seq, limit=WRITE_MESSAGES, max_bytes=WRITE_BYTES)
            if not given:
                request = delivery.read_request(flow.head.seq)
                if request is not None:
                    flow.start_read(self, request)
                break
            flow.delivered += len(given)
            try:
                writer.give([(item.message, flow.cursor(item)) for item in given])
            except Exception as error:
                self.broken(error)
        self.place()

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
            self.place()

    def beat(self) -> None:
        """Heartbeat: a sign of life that also moves the reader's cursor on (SPEC §2)."""
        if not (self.closed or self.writer.blocked):
            self.writer.beat(self.cursor())
            self.place()

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
            self._flow.forget(self)
            self._forget(self)
            self.delivery.close()

    def place(self) -> None:
        """Put it among those that may be written to at once, or among the others. Call when that may have changed."""
        if not self.closed:
            ready = self.delivery.level and self.event_types is None and not self.writer.blocked
            self._flow.place(self, ready=ready)

    def broken(self, error: Exception) -> None:
        """A stream that can't be written to must not keep others from getting theirs."""
        log.error("a stream is ended: its messages could not be written", exc_info=error)
        try:
            self.end("internal_error", reconnect=True)
        except Exception:
            log.exception("nor could its end")

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
