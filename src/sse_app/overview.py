"""The hub at a glance (SPEC §2, Administration): nodes, groups, connections, presence. Of every node, not just this."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from heapq import merge
from importlib.metadata import version
from itertools import islice
from operator import attrgetter

from sse_app.clock import Clock
from sse_app.delivered import DeliveredLedger
from sse_app.hub import Hub
from sse_app.outbox import OutboxRelay
from sse_app.publisher import Publisher
from sse_app.sequencer import Sequencer
from sse_app.unread_counts import UnreadCounter
from sse_domain.api import GroupInfo, Info, PresenceInfo
from sse_domain.errors import NodesUnavailable, Unavailable
from sse_domain.inbox import Delivered
from sse_domain.message import Receiver, ReceiverType, check_identifier
from sse_domain.ports import Bus, MessageLog, Presence, Subscriptions
from sse_domain.presence import Audiences, ClientInfo, NodeReport

MAX_LISTED = 1000
USERS_AT_ONCE = 1000


class Overview:
    def __init__(
        self,
        *,
        node_id: str,
        message_log: MessageLog,
        subscriptions: Subscriptions,
        presence: Presence,
        bus: Bus,
        hub: Hub,
        sequencer: Sequencer,
        publisher: Publisher,
        outbox: OutboxRelay,
        ledger: DeliveredLedger,
        counter: UnreadCounter,
        clock: Clock,
        storage: str,
    ) -> None:
        self._node_id = node_id
        self._log = message_log
        self._subscriptions = subscriptions
        self._presence = presence
        self._bus = bus
        self._hub = hub
        self._sequencer = sequencer
        self._publisher = publisher
        self._outbox = outbox
        self._ledger = ledger
        self._counter = counter
        self._clock = clock
        self._storage = storage
        self._started = clock.monotonic()
        self._version = version("sse-hub")  # reads a file, and leaves work to the garbage collector

    def report(self) -> NodeReport:
        """This node at a glance."""
        flow = self._hub.flow
        return NodeReport(
            node_id=self._node_id,
            uptime_seconds=self._clock.monotonic() - self._started,
            connections=len(self._hub.connections),
            accepted=self._publisher.accepted + self._outbox.accepted,
            delivered=flow.delivered,
            replayed=flow.replayed,
            dropped=flow.budget.dropped,
            backlog=self._sequencer.backlog,
        )

    async def info(self) -> Info:
        """See PushService.info. While the others can't be asked, of this node alone, and the bus is not healthy."""
        hub, own = self._hub, self.report()
        users = [user_id for user_id, user in hub.users.items() if user.connections]
        bus = dict(self._bus.health())
        try:
            nodes = sorted([own, *await self._presence.nodes()], key=attrgetter("node_id"))
            audiences = await self._presence.audiences(hub.clients.keys(), users, hub.groups.keys())
        except NodesUnavailable:
            nodes, audiences = [own], Audiences(len(hub.clients), len(users), len(hub.groups))
            bus["healthy"] = False

        def total(count: Callable[[NodeReport], int]) -> int:
            return sum(map(count, nodes))

        return Info(
            version=self._version,
            node_id=self._node_id,
            uptime_seconds=own.uptime_seconds,
            clients=audiences.clients,
            connections=total(attrgetter("connections")),
            users=audiences.users,
            groups=audiences.groups,
            accepted=total(attrgetter("accepted")),
            delivered=total(attrgetter("delivered")),
            replayed=total(attrgetter("replayed")),
            dropped=total(attrgetter("dropped")),
            backlog=total(attrgetter("backlog")),
            nodes=nodes,
            storage=await self.storage_health(),
            bus=bus,
            unread_cache=self._counter.statistics(),
        )

    async def storage_health(self) -> Mapping[str, object]:
        """What the store is, and whether it answers."""
        try:
            head = await self._log.head()
        except Unavailable:
            return {"kind": self._storage, "healthy": False}
        return {"kind": self._storage, "healthy": True, "epoch": head.epoch, "last_seq": head.seq}

    async def group(self, group: str) -> GroupInfo:
        """See PushService.group."""
        check_identifier("group", group)
        here = self._hub.groups.get(group, ())
        elsewhere = await self._presence.group(group, MAX_LISTED)
        subscribers = await self._subscriptions.of_group(group, MAX_LISTED)
        return GroupInfo(
            group=group,
            clients=_listed({c.client_id for c in here}, elsewhere.clients),
            users=_listed({c.user_id for c in here if c.user_id is not None}, elsewhere.users),
            subscribers=[subscription.user_id for subscription in subscribers],
        )

    async def clients(self, user_id: str | None, limit: int) -> list[ClientInfo]:
        """See PushService.clients."""
        if user_id is not None:
            user = self._hub.users.get(check_identifier("user_id", user_id))
            streams = [] if user is None else sorted(user.connections, key=lambda c: c.connected_at)
        else:
            streams = list(islice(self._hub.connections, limit))
        here = [connection.info() for connection in streams[:limit]]
        elsewhere = await self._presence.clients(user_id, limit)
        return list(islice(merge(here, elsewhere, key=attrgetter("connected_at")), limit))

    async def online(self, user_ids: Sequence[str]) -> list[PresenceInfo]:
        """See PushService.online."""
        readers = [Receiver(ReceiverType.USER, check_identifier("user_id", user_id)) for user_id in user_ids]
        records: dict[Receiver, Delivered] = {}
        elsewhere: dict[str, int] = {}
        for start in range(0, len(readers), USERS_AT_ONCE):
            records |= await self._ledger.of(readers[start : start + USERS_AT_ONCE])
            elsewhere |= await self._presence.users(user_ids[start : start + USERS_AT_ONCE])
        answers = []
        for reader, user_id in zip(readers, user_ids, strict=True):
            user = self._hub.users.get(user_id)
            connections = elsewhere.get(user_id, 0) + (0 if user is None else len(user.connections))
            record = records.get(reader)
            seen_at = self._clock.now() if connections else None if record is None else record.seen_at
            answers.append(
                PresenceInfo(user_id=user_id, online=connections > 0, connections=connections, last_seen=seen_at)
            )
        return answers


def _listed(here: Collection[str], elsewhere: Collection[str]) -> list[str]:
    return sorted({*here, *elsewhere})[:MAX_LISTED]
