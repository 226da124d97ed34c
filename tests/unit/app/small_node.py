"""A node whose limits are so small that everything comes in pieces, and whose course is the same on every run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest
from dependency_injector import providers

from sse_app.clock import Clock
from sse_app.connection import Connection
from sse_app.container import Container, build_container
from sse_app.flow import StreamFlow
from sse_app.hub import Hub
from sse_app.settings import Settings
from sse_domain.bounds import Budget, Caps
from sse_domain.message import Message
from tests.unit.app.gates import GatedStore

CAPS = Caps(waiting_messages=4, waiting_bytes=50, page_messages=3, page_bytes=40)
BUDGET = 80
CONCURRENT_READS = 2
# So small that everything is cut into pieces, with an await between.
LIMITS = {
    "sse_app.fan_out.RUN_MESSAGES": 2,
    "sse_app.feed.READ_LIMIT": 2,
    "sse_app.sequencer.COMMIT_ENTRIES": 3,
    "sse_app.connection.WRITE_MESSAGES": 2,
    "sse_app.lookup.OPENINGS_AT_ONCE": 3,
    "sse_app.opening.CONCURRENT_READS": 2,
    "sse_app.delivered.RECORDS_AT_ONCE": 1,
    "sse_app.hints.MAX_MESSAGES": 6,
    "sse_app.hints.MAX_BYTES": 60,
    "sse_app.presence.CHANGES_AT_ONCE": 2,
    "sse_app.presence.MAX_GONE": 3,
    "sse_app.unread_counts.LEAST_KEPT": 1,
    "sse_app.unread_counts.CHECK_EVERY": 10,
}


class WatchedHub(Hub):
    """Tells the world what the node hands out, and in which order."""

    published: Callable[[Sequence[Message]], None]

    def publish(self, messages: Sequence[Message]) -> list[int]:
        self.published(messages)
        return super().publish(messages)


class UsersInOrder(dict[str, None]):
    """A set whose order is the same on every run."""

    def add(self, user_id: str) -> None:
        self[user_id] = None

    def discard(self, user_id: str) -> None:
        self.pop(user_id, None)

    def update(self, user_ids: Iterable[str]) -> None:  # type: ignore[override]
        super().update(dict.fromkeys(user_ids))


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Until the patch is undone. A set of connections is then ordered by their writers' numbers."""
    for name, value in LIMITS.items():
        patch.setattr(name, value)
    patch.setattr(Connection, "__hash__", lambda connection: connection.writer.number)


def build_node(node_id: str, clock: Clock, store: GatedStore, shared: object) -> Container:
    container = build_container(Settings(database_url="memory://", heartbeat_seconds=1))
    container.node_id.override(providers.Object(node_id))
    container.clock.override(providers.Object(clock))
    container.store.override(providers.Object(store))
    container.shared.override(providers.Object(shared))
    container.caps.override(providers.Object(CAPS))
    container.budget.override(providers.Object(Budget(BUDGET)))
    container.flow.override(providers.Singleton(StreamFlow, store.log, clock, container.budget, CONCURRENT_READS))
    container.hub.override(providers.Singleton(WatchedHub, container.flow, retry_ms=0, return_seconds=0))
    container.unread()._changed = UsersInOrder()  # type: ignore[assignment]
    return container
