"""What this node says of itself to the others: who is connected to it, for as long as it lives.

What it says holds for a lease. A node that ends without a word, or stands still for longer than that, is gone for the
others; when it goes on, or when whoever keeps what was said has lost it, it says everything again.
"""

from __future__ import annotations

from itertools import islice

from sse_app.connection import Connection
from sse_app.hub import Hub
from sse_domain.ports import Presence
from sse_domain.presence import NodeReport

MAX_LEASE_SECONDS = 10.0
CHANGES_AT_ONCE = 1000
MAX_GONE = 20_000  # past which everything is said again, so that nothing need be remembered


class PresenceReporter:
    """A lease is two heartbeats, or ten seconds if that is less. Call `run` several times in each."""

    def __init__(self, presence: Presence, hub: Hub, *, heartbeat_seconds: float) -> None:
        self.lease_seconds = min(2 * heartbeat_seconds, MAX_LEASE_SECONDS)
        self._presence = presence
        self._hub = hub
        self._changed: dict[Connection, None] = {}
        self._gone: list[str] = []
        self._begin_again = False
        self._heard = True  # the answer to the last renewal

    def opened(self, connection: Connection) -> None:
        self._changed[connection] = None

    def changed(self, user_id: str) -> None:
        """A user's open streams have other groups than before."""
        user = self._hub.users.get(user_id)
        if user is not None:
            self._changed.update(dict.fromkeys(user.connections))

    def left(self, connection: Connection) -> None:
        self._changed.pop(connection, None)
        if len(self._gone) < MAX_GONE:
            self._gone.append(connection.connection_id)
        else:
            self._begin_again = True

    async def run(self, report: NodeReport) -> None:
        """Say what has changed, and renew the lease. Raises NodesUnavailable; what was not said is said next time."""
        if self._begin_again:
            await self._presence.renew(report, 0)
            self._begin_again = False
        await self._say_changes()  # first, so that nobody sees in the report whom they don't see otherwise
        heard, self._heard = self._heard, False
        known = await self._presence.renew(report, self.lease_seconds)
        self._heard = True
        if not known:
            self._gone = []
        if not (known and heard):  # the answer that was not heard may have been that nothing is known
            self._changed = dict.fromkeys(self._hub.connections)
            await self._say_changes()

    async def leave(self, report: NodeReport) -> None:
        """This node stops. Raises NodesUnavailable; then it is gone when its lease ends."""
        await self._presence.renew(report, 0)

    async def _say_changes(self) -> None:
        # Only what there is now: the lease must be renewed again, however many come and go meanwhile.
        for _ in range(0, max(len(self._changed), len(self._gone)), CHANGES_AT_ONCE):
            await self._say_some()

    async def _say_some(self) -> None:
        changed, gone = list(islice(self._changed, CHANGES_AT_ONCE)), self._gone[:CHANGES_AT_ONCE]
        for connection in changed:
            del self._changed[connection]
        del self._gone[:CHANGES_AT_ONCE]
        try:
            await self._presence.change([connection.info() for connection in changed], gone)
        except BaseException:
            self._changed.update((connection, None) for connection in changed if not connection.closed)
            self._gone += gone
            raise
