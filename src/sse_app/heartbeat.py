"""The shared timer of all streams: heartbeats, write deadlines, and a second try for reads that failed."""

from __future__ import annotations

from collections import OrderedDict

from sse_app.clock import Clock
from sse_app.connection import Connection
from sse_app.hub import Hub

BEATS_AT_ONCE = 500  # bounds how long one tick keeps the event loop; the rest is due on the next


class Heartbeat:
    """Every stream has the same period, so the next one due is always the first in the queue: no timer per stream."""

    def __init__(self, hub: Hub, clock: Clock, *, seconds: float, timeout_seconds: float) -> None:
        self.seconds = seconds
        self._hub = hub
        self._clock = clock
        self._timeout = timeout_seconds
        self._due: OrderedDict[Connection, float] = OrderedDict()

    def add(self, connection: Connection) -> None:
        self._due[connection] = self._clock.monotonic() + self.seconds

    def remove(self, connection: Connection) -> None:
        self._due.pop(connection, None)

    async def beat(self) -> None:
        """Send the heartbeats that are due (SPEC §2)."""
        now = self._clock.monotonic()
        for _ in range(BEATS_AT_ONCE):
            connection, due = next(iter(self._due.items()), (None, now))
            if connection is None or due > now:
                return
            self._due[connection] = now + self.seconds
            self._due.move_to_end(connection)
            connection.beat()

    async def sweep(self) -> None:
        """End streams whose reader has taken nothing for the timeout (SPEC §3.10); nudge those that still wait."""
        now = self._clock.monotonic()
        for connection in tuple(self._hub.flow.others):
            if connection.writer.blocked:
                if connection.blocked_since is None:
                    connection.blocked_since = now
                elif now - connection.blocked_since >= self._timeout:
                    connection.end("timeout", reconnect=True)
            elif not connection.delivery.level:
                connection.pump()
