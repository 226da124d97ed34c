"""The hub in-process (SPEC §8): what the HTTP API does, as plain calls with Python values."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from sse_app.sending import Sending, member_of
from sse_domain.api import FrameWriter, MessagePage, PushService, Receipt
from sse_domain.inbox import DEFAULT_PAGE, InboxQuery, StatusFilter
from sse_domain.message import Message, Priority
from sse_domain.replay import ReplayMode, StreamRequest

LISTENER_BUFFER = 256  # events a listener may leave untaken before it counts as blocked


class Event(NamedTuple):
    """One event of a stream, as a browser would see it. `id` is what its lastEventId is now; `json` is its data's text.

    `message` is None for a control event (`sse.…`).
    """

    event_type: str
    json: bytes
    id: str
    message: Message | None = None

    @property
    def data(self) -> Any:
        """The data as Python values, read afresh each time. Raises ValueError for a number too long for Python."""
        return json.loads(self.json)


class EventStream(FrameWriter):
    """An in-process reader of a stream: iterate over it for the application's events, in order.

    `control_events=True` yields the control events too; without it they still show in `opened` (the payload of
    `sse.open`), `reset` (the reason of an `sse.reset`, or None) and `closed` (the reason the hub gave).
    """

    def __init__(self, *, control_events: bool) -> None:
        self.blocked = False
        self.drained: Callable[[], None] = _nothing
        self.last_event_id = ""
        self.opened: Mapping[str, Any] = {}
        self.reset: str | None = None
        self.closed: str | None = None
        self._control_events = control_events
        self._events: deque[Event] = deque()
        self._waiting: list[asyncio.Future[None]] = []
        self._written_id = ""

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self.closed is not None:
                raise StopAsyncIteration
            await self._arrival()
        event = self._events.popleft()
        self.last_event_id = event.id
        if self.blocked and len(self._events) <= LISTENER_BUFFER // 2:
            self.blocked = False
            self.drained()
        return event

    def give(self, batch: Sequence[tuple[Message, str | None]]) -> None:
        for message, cursor in batch:
            self._written_id = cursor or self._written_id
            self._events.append(Event(message.event_type, message.data, self._written_id, message))
        self._arrived()

    def begin(self, cursor: str, opened: Mapping[str, object], reset: str | None) -> None:
        self.beat(cursor)
        self.opened, self.reset = opened, reset
        self.control("sse.open", opened)
        if reset is not None:
            self.control("sse.reset", {"reason": reset})

    def control(self, event: str, payload: Mapping[str, object]) -> None:
        if self._control_events:
            self._events.append(Event(event, msgspec.json.encode(payload), self._written_id))
            self._arrived()

    def beat(self, cursor: str) -> None:
        self._written_id = cursor
        if not self._events:
            self.last_event_id = cursor

    def close(self, reason: str, *, reconnect: bool, retry_ms: int | None = None) -> None:
        self.control("sse.close", {"reason": reason, "reconnect": reconnect})
        self.closed = reason
        self._arrived()

    async def _arrival(self) -> None:
        """Like an asyncio.Event that is set for a moment; nothing is made for a reader that need not wait."""
        arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(arrival)
        try:
            await arrival
        finally:
            self._waiting.remove(arrival)

    def _arrived(self) -> None:
        if len(self._events) >= LISTENER_BUFFER:
            self.blocked = True
        for arrival in self._waiting:
            if not arrival.done():
                arrival.set_result(None)


def _nothing() -> None:
    """Before a stream is open there is nobody to tell that it drained."""


class InProcessHub(Sending[Receipt], PushService):
    """Python values in, JSON inside. Every method does what its HTTP counterpart does and raises its errors."""

    async def history(
        self,
        user_id: str,
        *,
        status: StatusFilter | str | None = None,
        event_type: str | None = None,
        group: str | None = None,
        priority: Priority | int | None = None,
        since: datetime | None = None,
        after: str | None = None,
        newest_first: bool = False,
        limit: int = DEFAULT_PAGE,
    ) -> MessagePage:
        """What is visible to the user, by seq (GET /messages); `status="pending"` for what no stream was given yet."""
        query = InboxQuery(
            user_id=user_id,
            status=None if status is None else member_of(StatusFilter, "status", status),
            event_type=event_type,
            group=group,
            priority=None if priority is None else member_of(Priority, "priority", priority),
            since=since,
            descending=newest_first,
            limit=limit,
        )
        return await self.messages(query, after)

    @asynccontextmanager
    async def listen(
        self,
        *,
        client_id: str | None = None,
        user_id: str | None = None,
        groups: Sequence[str] = (),
        event_types: Sequence[str] | None = None,
        last_event_id: str | None = None,
        since: datetime | None = None,
        replay: ReplayMode | str = ReplayMode.PENDING,
        unread: bool = False,
        control_events: bool = False,
    ) -> AsyncIterator[EventStream]:
        """Open a stream and read it here. Leaving the block closes it.

        An event is given when it reaches this reader's buffer of 256; one who reads slower falls back to the log, and
        to be sure of a resume keeps `last_event_id` of what it has handled.
        """
        request = StreamRequest(
            client_id=client_id,
            user_id=user_id,
            groups=tuple(groups),
            event_types=None if event_types is None else tuple(event_types),
            cursor=last_event_id,
            since=since,
            replay=member_of(ReplayMode, "replay", replay),
            unread=unread,
        )
        reader = EventStream(control_events=control_events)
        stream = await self.open(request, reader)
        try:
            yield reader
        finally:
            stream.leave()
