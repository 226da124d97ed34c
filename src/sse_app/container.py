"""The composition root: which object is made from which. The only place that knows dependency_injector.

Declarations only. Everything is a singleton of its container, and every node has a container of its own.
"""

from __future__ import annotations

import secrets

from dependency_injector import containers, providers

from sse_adapters.http.app import http_app
from sse_adapters.http.options import HttpOptions
from sse_adapters.memory import MemoryShared, MemoryStore
from sse_adapters.redis import RedisShared, UnusableRedis
from sse_adapters.sql import SqlStore, UnusableDatabase, database_for
from sse_app.clock import StoreClock, SystemClock
from sse_app.cluster import Cluster
from sse_app.delivered import DeliveredLedger
from sse_app.disconnecting import Disconnections
from sse_app.fan_out import FanOut
from sse_app.feed import Feed
from sse_app.flow import StreamFlow
from sse_app.following import Follower
from sse_app.heartbeat import Heartbeat
from sse_app.hub import Hub
from sse_app.janitor import Janitor
from sse_app.lookup import OpeningLookup
from sse_app.memberships import Memberships
from sse_app.node import Node
from sse_app.opening import StreamOpener
from sse_app.outbox import OutboxRelay
from sse_app.overview import Overview
from sse_app.presence import PresenceReporter
from sse_app.publisher import Publisher
from sse_app.questions import Questions
from sse_app.sequencer import Sequencer
from sse_app.service import HubService
from sse_app.settings import Settings, SettingsError
from sse_app.unread import UnreadWatch
from sse_app.unread_counts import UnreadCounter
from sse_domain.bounds import Budget, Caps

MEMORY = "memory://"
CONCURRENT_READS = 16  # reads of the log that streams may have running at once


class Container(containers.DeclarativeContainer):
    settings = providers.Dependency(instance_of=Settings)
    clock = providers.Singleton(SystemClock)

    storage = providers.Callable(lambda url: storage_kind(url), settings.provided.database_url)
    store = providers.Selector(
        providers.Callable(lambda url: "memory" if url == MEMORY else "sql", settings.provided.database_url),
        memory=providers.Singleton(MemoryStore),
        sql=providers.Singleton(
            SqlStore,
            settings.provided.database_url,
            connections=settings.provided.database_connections,
            timeout_seconds=settings.provided.database_timeout_seconds,
        ),
    )

    store_clock = providers.Singleton(StoreClock, store.provided.time, clock)
    patience_seconds = settings.provided.database_timeout_seconds

    budget = providers.Singleton(Budget, settings.provided.node_buffer_bytes)
    flow = providers.Singleton(StreamFlow, store.provided.log, clock, budget, CONCURRENT_READS)
    hub = providers.Singleton(
        Hub, flow, retry_ms=settings.provided.retry_ms, return_seconds=settings.provided.drain_seconds
    )

    node_id = providers.Singleton(secrets.token_hex, 4)
    shared = providers.Selector(
        providers.Callable(lambda url: "redis" if url else "none", settings.provided.redis_url),
        none=providers.Singleton(MemoryShared, node_id, clock.provided.monotonic),
        redis=providers.Singleton(RedisShared, settings.provided.redis_url, settings.provided.redis_prefix, node_id),
    )
    presence = providers.Singleton(
        PresenceReporter, shared.provided.presence, hub, heartbeat_seconds=settings.provided.heartbeat_seconds
    )

    fan_out = providers.Singleton(FanOut, hub, shared.provided.bus)
    counter = providers.Singleton(
        UnreadCounter, store.provided.inbox, store.provided.stamps, shared.provided.unread_cache, clock
    )
    unread = providers.Singleton(UnreadWatch, counter, store.provided.stamps, hub, clock)
    ledger = providers.Singleton(DeliveredLedger, store.provided.inbox, hub, clock)
    feed = providers.Singleton(
        Feed,
        message_log=store.provided.log,
        identity=store.provided.log,
        subscriptions=store.provided.subscriptions,
        hub=hub,
        unread=unread,
        ledger=ledger,
        presence=presence,
        bus=shared.provided.bus,
        patience_seconds=patience_seconds,
    )
    follower = providers.Singleton(Follower, feed)
    sequencer = providers.Singleton(Sequencer, store.provided.log, feed, clock, patience_seconds=patience_seconds)
    publisher = providers.Singleton(Publisher, store.provided.log, sequencer, fan_out, clock)
    outbox = providers.Singleton(OutboxRelay, store.provided.outbox, feed, clock)
    heartbeat = providers.Singleton(
        Heartbeat,
        hub,
        clock,
        seconds=settings.provided.heartbeat_seconds,
        timeout_seconds=settings.provided.timeout_seconds,
    )
    caps = providers.Singleton(
        Caps,
        waiting_messages=settings.provided.stream_buffer_messages,
        waiting_bytes=settings.provided.stream_buffer_bytes,
    )
    lookup = providers.Singleton(
        OpeningLookup,
        subscriptions=store.provided.subscriptions,
        counter=counter,
        hub=hub,
        ledger=ledger,
        feed=feed,
    )
    opener = providers.Singleton(
        StreamOpener,
        message_log=store.provided.log,
        inbox=store.provided.inbox,
        lookup=lookup,
        hub=hub,
        ledger=ledger,
        unread=unread,
        heartbeat=heartbeat,
        presence=presence,
        clock=clock,
        caps=caps,
        most_opening=settings.provided.opening_streams,
    )
    questions = providers.Singleton(Questions, shared.provided.bus, shared.provided.presence)
    disconnections = providers.Singleton(Disconnections, hub, shared.provided.bus, questions, clock)
    memberships = providers.Singleton(Memberships, store.provided.subscriptions, feed, shared.provided.bus, questions)
    overview = providers.Singleton(
        Overview,
        node_id=node_id,
        message_log=store.provided.log,
        subscriptions=store.provided.subscriptions,
        presence=shared.provided.presence,
        bus=shared.provided.bus,
        hub=hub,
        sequencer=sequencer,
        publisher=publisher,
        outbox=outbox,
        ledger=ledger,
        counter=counter,
        clock=clock,
        storage=storage,
    )
    cluster = providers.Singleton(Cluster, shared.provided.bus, follower, fan_out, unread, disconnections, questions)
    service = providers.Singleton(
        HubService,
        message_log=store.provided.log,
        inbox=store.provided.inbox,
        subscriptions=store.provided.subscriptions,
        hub=hub,
        memberships=memberships,
        publisher=publisher,
        outbox=outbox,
        opener=opener,
        ledger=ledger,
        unread=unread,
        counter=counter,
        disconnections=disconnections,
        overview=overview,
        bus=shared.provided.bus,
        clock=clock,
    )
    janitor = providers.Singleton(
        Janitor, store.provided.retention, unread, clock, retention_days=settings.provided.retention_days
    )
    node = providers.Singleton(
        Node,
        store=store,
        streams=hub,
        feed=feed,
        sequencer=sequencer,
        outbox=outbox,
        clock=store_clock,
        service=service,
        heartbeat=heartbeat,
        unread=unread,
        presence=presence,
        overview=overview,
        follower=follower,
        cluster=cluster,
        shared=shared,
        ledger=ledger,
        janitor=janitor,
        cleanup_seconds=settings.provided.cleanup_seconds,
        drain_seconds=settings.provided.drain_seconds,
    )

    http_options = providers.Singleton(
        HttpOptions,
        prefix=settings.provided.path_prefix,
        cors_origins=settings.provided.origins,
        retry_ms=settings.provided.retry_ms,
    )
    app = providers.Singleton(http_app, service, http_options)


def storage_kind(url: str) -> str:
    """What a database URL names: `memory`, `sqlite`, `postgresql`, `mysql` or `mariadb`. Raises SettingsError."""
    if url == MEMORY:
        return "memory"
    try:
        return database_for(url)[1].get_backend_name()
    except UnusableDatabase as error:
        raise SettingsError(f"SSE_DATABASE_URL: {error.detail}") from error


def build_container(settings: Settings) -> Container:
    """A node's objects, none of them started. Raises SettingsError."""
    storage_kind(settings.database_url)
    container = Container(settings=providers.Object(settings))
    try:
        container.shared()
    except UnusableRedis as error:
        raise SettingsError(f"SSE_REDIS_URL: {error.detail}") from error
    return container
