"""The hub: which streams are open on this node, and the fan-out of what the feed applies.

Messages come in runs: what one commit or one batch brought. Each message's audience is looked up once, from its
receiver to the connections that may want it; each connection's own Audience has the last word. Connections that admit
the same messages of a run share one batch object, and so its frames; one that is not level, or blocked, takes the
messages into its lanes instead.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from sse_app.connection import Connection
from sse_app.flow import StreamFlow
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

    def __init__(self, flow: StreamFlow, *, retry_ms: int, return_seconds: float) -> None:
        self.flow = flow
        self._retry_ms = retry_ms
        self._return_seconds = return_seconds
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

    def end(self, streams: Iterable[Connection], reason: str) -> None:
        """End streams, each with a time of its own to return: whoever takes them on is not stormed."""
        for connection in tuple(streams):
            pause = random.uniform(0, self._return_seconds)  # noqa: S311  (spreads load; guards nothing)
            connection.end(reason, reconnect=True, retry_ms=self._retry_ms + int(pause * 1000))

    def publish(self, messages: Sequence[Message]) -> list[int]:
        """Fan out messages, one at least, that this node has just applied, in order; to how many streams each
        was given.

        Persisted ones must follow the head without a hole: that is the feed's duty. A stream whose writer fails is
        ended, and comes back with its cursor; the others are served all the same.
        """
        for message in messages:
            if message.seq is not None:
                self.flow.head.move(message.seq)
        if all(map(_for_all, messages)):
            admitting = [_of_type(self.flow.others, message) for message in messages]
            ready = self.flow.give_to_ready(self.flow.shared_run(messages))
        else:
            admitting, ready = [self._admitting(message) for message in messages], 0
        for admitted, connections in _by_what_they_admit(messages, admitting):
            run = self.flow.shared_run(admitted)
            for connection in connections:
                connection.take(run)
        return [ready + len(connections) for connections in admitting]

    def _admitting(self, message: Message) -> list[Connection]:
        """The streams that a message just applied is for."""
        if message.expire_at is not None and message.expired(self.flow.clock.now()):
            return []
        candidates = self._candidates(message)
        if message.receiver.type is ReceiverType.CLIENT:
            for connection in candidates:
                connection.addressed = True
        if message.receiver.type is ReceiverType.GROUP:
            return [c for c in candidates if c.delivery.audience.admits(message)]
        return _of_type(candidates, message)

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

    def forget_users(self) -> None:
        """Forget every membership, when no stream is open. Streams that are opening must begin again."""
        self.users.clear()

    def _release(self, user_id: str, user: UserStreams) -> None:
        if not (user.connections or user.opening) and self.users.get(user_id) is user:
            del self.users[user_id]

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


def _of_type(connections: Iterable[Connection], message: Message) -> list[Connection]:
    """Those of a message's own receivers that admit it: of all that Audience.admits asks, its type is left."""
    return [c for c in connections if c.event_types is None or message.event_type in c.event_types]


def _for_all(message: Message) -> bool:
    """Whether every stream without a filter admits it."""
    return message.receiver.type is ReceiverType.BROADCAST and message.expire_at is None


def _by_what_they_admit(
    messages: Sequence[Message], admitting: Sequence[list[Connection]]
) -> Iterable[tuple[Sequence[Message], Collection[Connection]]]:
    """Connections by the messages of a run that they admit. `admitting`: those that admit each message."""
    if len(messages) == 1:
        return [(messages, admitting[0])] if admitting[0] else ()
    indices: dict[Connection, list[int]] = {}
    for index, connections in enumerate(admitting):
        for connection in connections:
            indices.setdefault(connection, []).append(index)
    groups: dict[tuple[int, ...], list[Connection]] = {}
    for connection, admitted in indices.items():
        groups.setdefault(tuple(admitted), []).append(connection)
    return [([messages[index] for index in admitted], connections) for admitted, connections in groups.items()]


def _discard(index: dict[str, set[Connection]], key: str, connection: Connection) -> None:
    members = index.get(key)
    if members is not None:
        members.discard(connection)
        if not members:
            del index[key]
