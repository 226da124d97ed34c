"""The hub: which streams are open on this node, and the fan-out of what the feed applies.

Messages come in runs: what one commit or one batch brought. Each message's audience is looked up once, from its
receiver to the connections that may want it; each connection's own Audience has the last word. Connections that admit
the same messages of a run share one batch object, and so its frames; one that is not level, or blocked, takes the
messages into its lanes instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from sse_app.connection import Connection, SharedRun, StreamFlow
from sse_domain.message import Message, ReceiverType
from sse_domain.subscription import Subscription


class UserStreams:
    """A user with a stream open or opening: the streams, and the live memberships that their audiences share."""

    __slots__ = ("_changed", "connections", "opening", "subscriptions")

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.subscriptions: dict[str, Subscription] = {}
        self.opening = 0
        self._changed: set[str] | None = set()  # groups whose membership changed before `load`; then None

    @property
    def loaded(self) -> bool:
        return self._changed is None

    def load(self, stored: Iterable[Subscription]) -> None:
        """Take the memberships as the store had them; what changed since that read began is newer and stays."""
        changed, self._changed = self._changed, None
        if changed is not None:
            self.subscriptions.update((s.group, s) for s in stored if s.group not in changed)

    def change(self, group: str, subscription: Subscription | None) -> None:
        if self._changed is not None:
            self._changed.add(group)
        if subscription is None:
            self.subscriptions.pop(group, None)
        else:
            self.subscriptions[group] = subscription


class Hub:
    """Every method is synchronous, so each is atomic on the event loop."""

    def __init__(self, flow: StreamFlow) -> None:
        self.flow = flow
        self.connections: dict[Connection, None] = {}  # by age
        self.users: dict[str, UserStreams] = {}
        self.clients: dict[str, set[Connection]] = {}
        self.groups: dict[str, set[Connection]] = {}

    @contextmanager
    def opening(self, user_id: str | None) -> Iterator[UserStreams]:
        """Hold a user's entry while a stream of it opens, so that membership changes meanwhile are not missed."""
        if user_id is None:
            yield UserStreams()
            return
        user = self.users.setdefault(user_id, UserStreams())
        user.opening += 1
        try:
            yield user
        finally:
            user.opening -= 1
            self._release(user_id, user)

    def add(self, connection: Connection) -> None:
        """From now on the connection is offered what is published. Its user's entry must be held (`opening`)."""
        audience = connection.delivery.audience
        self.connections[connection] = None
        self.clients.setdefault(connection.client_id, set()).add(connection)
        for group in audience.groups | audience.subscriptions.keys():
            self.groups.setdefault(group, set()).add(connection)
        if audience.user_id is not None:
            self.users[audience.user_id].connections.add(connection)

    def remove(self, connection: Connection) -> None:
        if connection not in self.connections:
            return
        del self.connections[connection]
        audience = connection.delivery.audience
        _discard(self.clients, connection.client_id, connection)
        for group in audience.groups | audience.subscriptions.keys():
            _discard(self.groups, group, connection)
        if audience.user_id is not None:
            user = self.users[audience.user_id]
            user.connections.discard(connection)
            self._release(audience.user_id, user)

    def publish(self, messages: Sequence[Message]) -> list[int]:
        """Fan out messages that this node has just applied, in order; to how many streams each was handed.

        Persisted ones must follow the head without a hole: that is the feed's duty. A stream whose writer fails is
        ended, and comes back with its cursor; the others are served all the same.
        """
        now = self.flow.clock.now()
        counts: list[int] = []
        admitted: dict[Connection, list[int]] = {}
        for index, message in enumerate(messages):
            if message.seq is not None:
                self.flow.head.move(message.seq)
            handed = 0
            if not message.expired(now):
                for connection in self._candidates(message):
                    if connection.delivery.audience.admits(message):
                        handed += 1
                        admitted.setdefault(connection, []).append(index)
            counts.append(handed)
        runs: dict[tuple[int, ...], SharedRun] = {}
        for connection, indices in admitted.items():
            key = tuple(indices)
            run = runs.get(key)
            if run is None:
                run = runs[key] = self.flow.shared_run([messages[index] for index in indices])
            connection.take(run)
        return counts

    def reach(self, message: Message) -> int:
        """How many streams may want this message: what publishing it costs."""
        return len(self._candidates(message))

    def joined(self, subscription: Subscription) -> None:
        """A membership is new or changed: it takes effect on the user's open streams now."""
        user = self.users.get(subscription.user_id)
        if user is not None:
            user.change(subscription.group, subscription)
            if user.connections:
                self.groups.setdefault(subscription.group, set()).update(user.connections)

    def left(self, user_id: str, group: str) -> None:
        """A membership has ended: its messages, also those still waiting, are no longer the user's."""
        user = self.users.get(user_id)
        if user is not None:
            user.change(group, None)
            for connection in user.connections:
                if group not in connection.delivery.audience.groups:
                    _discard(self.groups, group, connection)

    def _release(self, user_id: str, user: UserStreams) -> None:
        if not (user.connections or user.opening):
            self.users.pop(user_id, None)

    def _candidates(self, message: Message) -> Collection[Connection]:
        kind, identity = message.receiver
        if kind is ReceiverType.BROADCAST:
            return self.connections
        if identity is None:
            return ()
        if kind is ReceiverType.USER:
            user = self.users.get(identity)
            return () if user is None else user.connections
        return (self.clients if kind is ReceiverType.CLIENT else self.groups).get(identity, ())


def _discard(index: dict[str, set[Connection]], key: str, connection: Connection) -> None:
    members = index.get(key)
    if members is not None:
        members.discard(connection)
        if not members:
            del index[key]
