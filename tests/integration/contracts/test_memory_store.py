"""What only the store in memory must do: name each log anew, and give back the memory of what was removed."""

from __future__ import annotations

import gc
import re
import tracemalloc

from sse_adapters.memory import MemoryStore
from sse_domain.cursor import EPOCH_LENGTH, Positions
from sse_domain.inbox import UpTo
from sse_domain.message import BROADCAST, Receiver
from tests.support.clock import ManualClock
from tests.support.stores import Publisher

# What other threads come by meanwhile is not counted.
OURS = [tracemalloc.Filter(True, pattern) for pattern in ("*/sse_adapters/memory/*", "*/sse_domain/*")]


async def test_each_log_has_a_name_of_its_own() -> None:
    epochs = [(await MemoryStore().log.head()).epoch for _ in range(20)]
    assert len(set(epochs)) == 20
    assert all(re.fullmatch(f"[0-9a-z]{{{EPOCH_LENGTH}}}", epoch) for epoch in epochs)


async def test_removing_frees_the_memory() -> None:
    store, clock = MemoryStore(), ManualClock()
    publish = Publisher(store, clock)

    async def fill_and_empty(first: int) -> None:
        # The same groups each time: that a membership was left is remembered, so that other nodes learn of it.
        for number in range(first, first + 500):
            await store.subscriptions.join("ana", f"group-{number % 500}", None)
            for receiver in (BROADCAST, Receiver.user(f"user-{number}"), Receiver.group(f"group-{number % 500}")):
                await publish(receiver, data=b"1" * 1000, ttl=(None, 5, 10**6)[number % 3])
        await store.inbox.mark_read("ana", UpTo(Positions.level(10**6)), clock())
        for number in range(first, first + 500):
            await store.subscriptions.leave("ana", f"group-{number % 500}")
        clock.advance(seconds=10)
        assert await store.retention.remove_expired(clock(), 10**6) > 0
        assert await store.retention.remove_older(clock(), 10**6) > 0
        assert await store.log.read(0, 1) == []

    def held() -> int:
        gc.collect()
        return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(OURS).traces)

    tracemalloc.start()
    try:
        await fill_and_empty(1000)
        once = held()
        await fill_and_empty(2000)
        assert held() - once < 5_000  # a thousandth of what was sent; one reference kept to each would be twice that
    finally:
        tracemalloc.stop()
