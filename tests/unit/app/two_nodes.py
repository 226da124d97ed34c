"""Two nodes of one hub, and the notes between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sse_adapters.memory import MemoryBoard, MemoryStore
from tests.unit.app.conftest import FakeClock, Parts, start_parts
from tests.unit.app.held_notes import HeldNotes, HeldShared


class Nodes:
    """Two nodes of one hub, each following the other, and the notes between them."""

    def __init__(self, here: Parts, there: Parts, notes: HeldNotes, store: MemoryStore, clock: FakeClock) -> None:
        self.here = here
        self.there = there
        self.notes = notes
        self.store = store
        self.clock = clock
        self.reads = 0

    async def settle(self) -> None:
        """Let all notes go, and until what they bring about is done."""
        for _ in range(20):
            self.notes.let_all_go()
            await asyncio.sleep(0)

    async def report(self) -> None:
        for node in (self.here, self.there):
            await node.container.presence().run(node.container.overview().report())


@asynccontextmanager
async def two_nodes() -> AsyncIterator[Nodes]:
    store, clock, notes, board = MemoryStore(), FakeClock(), HeldNotes(), MemoryBoard()
    here, there = [
        await start_parts(clock, store=store, shared=HeldShared(node_id, notes, board, clock), node_id=node_id)
        for node_id in ("here", "there")
    ]
    following = [asyncio.create_task(node.container.follower().run()) for node in (here, there)]
    both = Nodes(here, there, notes, store, clock)
    read = store.log.read

    async def counted(after: int, limit: int) -> object:
        both.reads += 1
        return await read(after, limit)

    store.log.read = counted  # type: ignore[assignment,method-assign]
    try:
        yield both
    finally:
        for task in following:
            task.cancel()
        ends = await asyncio.gather(*following, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
