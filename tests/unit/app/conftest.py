"""A node's parts over the memory store, with a clock that tests move and a writer that records. No timers run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from dependency_injector import providers

from sse_app.clock import Clock
from sse_app.connection import Connection
from sse_app.container import Container, build_container
from sse_app.service import HubService
from sse_app.settings import Settings
from sse_domain.api import FrameWriter
from sse_domain.message import Message
from sse_domain.replay import StreamRequest


class FakeClock(Clock):
    def __init__(self) -> None:
        self.instant = datetime(2026, 1, 1, tzinfo=UTC)
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)
        self.seconds += seconds


class RecordingWriter(FrameWriter):
    """Keeps what is written; blocks when told to, as a reader that takes nothing would."""

    def __init__(self) -> None:
        self.blocked = False
        self.drained: Callable[[], None] = lambda: None
        self.given: list[tuple[Message, str | None]] = []
        self.writes: list[int] = []
        self.controls: list[tuple[str, Mapping[str, object]]] = []
        self.begun = ""
        self.beats: list[str] = []
        self.closed: tuple[str, bool] | None = None
        self.block_after_next = False
        self.broken = False
        self.blocked_by_close = False
        self.batches: list[Sequence[tuple[Message, str | None]]] = []

    def give(self, batch: Sequence[tuple[Message, str | None]]) -> None:
        assert not self.blocked, "written to while blocked"
        if self.broken:
            raise RuntimeError("this reader can't take it")
        self.given += batch
        self.batches.append(batch)
        self.writes.append(len(batch))
        self.blocked, self.block_after_next = self.block_after_next, False

    def begin(self, cursor: str, opened: Mapping[str, object], reset: str | None) -> None:
        assert not self.blocked, "written to while blocked"
        self.begun = cursor
        self.controls.append(("sse.open", opened))
        if reset is not None:
            self.controls.append(("sse.reset", {"reason": reset}))

    def control(self, event: str, payload: Mapping[str, object]) -> None:
        assert not self.blocked, "written to while blocked"
        self.controls.append((event, payload))

    def beat(self, cursor: str) -> None:
        assert not self.blocked, "written to while blocked"
        self.beats.append(cursor)

    def close(self, reason: str, *, reconnect: bool, retry_ms: int | None = None) -> None:
        self.closed = (reason, reconnect)
        self.blocked = self.blocked_by_close

    def release(self) -> None:
        self.blocked = False
        self.drained()

    @property
    def types(self) -> list[str]:
        return [message.event_type for message, _ in self.given]

    @property
    def cursors(self) -> list[str | None]:
        return [cursor for _, cursor in self.given]

    def told(self, event: str) -> list[Mapping[str, object]]:
        return [payload for name, payload in self.controls if name == event]


class Parts:
    """The parts of one node, by name."""

    def __init__(self, container: Container, clock: FakeClock) -> None:
        self.container = container
        self.clock = clock
        self.hub: HubService = container.service()

    async def open(
        self, writer: RecordingWriter | None = None, **request: object
    ) -> tuple[Connection, RecordingWriter]:
        writer = writer or RecordingWriter()
        connection = await self.hub.open(StreamRequest(**request), writer)  # type: ignore[arg-type]
        await self.settle()
        return connection, writer

    async def settle(self) -> None:
        """Until no stream reads the log any more."""
        while readers := self.container.flow().readers:
            await asyncio.gather(*readers)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def start_parts(
    clock: FakeClock,
    *,
    store: object | None = None,
    shared: object | None = None,
    node_id: str = "node",
    **settings: object,
) -> Parts:
    """A started node. Nodes with the same `store` are nodes of one hub; `shared` is how it reaches the others."""
    container = build_container(Settings(database_url="memory://", **settings))  # type: ignore[arg-type]
    container.clock.override(providers.Object(clock))
    if store is not None:
        container.store.override(providers.Object(store))
    container.node_id.override(providers.Object(node_id))
    if shared is not None:
        container.shared.override(providers.Object(shared))
    await container.feed().start()
    await container.cluster().start()
    return Parts(container, clock)


@pytest.fixture
async def node(clock: FakeClock) -> Parts:
    return await start_parts(clock)
