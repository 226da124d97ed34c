"""UnreadCache: what was kept comes back as it was or not at all, and nobody waits for it for long."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest
from msgspec import msgpack

from sse_adapters.memory import MemoryUnreadCache
from sse_adapters.redis import RedisConnections, RedisUnreadCache
from sse_domain.inbox import UnreadCounts, UnreadStamp
from sse_domain.message import Priority
from sse_domain.ports import UnreadCache
from tests.integration.contracts.test_byte_for_byte import NAMES
from tests.support.patience import within
from tests.support.private_servers import run_private
from tests.support.redis_kinds import run_cluster
from tests.support.redis_server import PrivateRedis, redis_prefix, redis_url

STAMP = UnreadStamp(epoch="tests123", memberships=1, removals=2, last_seq=3, marking=4)
COUNTS = UnreadCounts(
    total=6,
    by_priority={Priority.NORMAL: 1, Priority.URGENT: 5},
    by_group={"team": 2, "": 1, "žluť 🎉 ": 1},
    by_event_type={"note": 4, "a.b": 2},
    next_expiry=datetime(2026, 3, 4, 5, 6, 7, 890_123, tzinfo=UTC),
)
ANSWER_SECONDS = 0.25
PATIENT_SECONDS = 30  # on a machine that is busy, what is kept is to be found all the same


@asynccontextmanager
async def open_memory_cache() -> AsyncIterator[UnreadCache]:
    yield MemoryUnreadCache()


@asynccontextmanager
async def open_redis_cache() -> AsyncIterator[UnreadCache]:
    async with redis_prefix() as prefix, connected(redis_url(), prefix) as connections:
        yield RedisUnreadCache(connections, answer_seconds=PATIENT_SECONDS)


@asynccontextmanager
async def connected(url: str, prefix: str) -> AsyncIterator[RedisConnections]:
    connections = RedisConnections(url, prefix)
    try:
        yield connections
    finally:
        await connections.close()


CACHES: dict[str, Callable[[], AbstractAsyncContextManager[UnreadCache]]] = {
    "memory": open_memory_cache,
    "redis": open_redis_cache,
}


@pytest.fixture(params=CACHES)
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[UnreadCache]:
    """A new, empty one: the test runs once for each that there is."""
    async with CACHES[request.param]() as cache:
        yield cache


@pytest.fixture
async def private_redis() -> AsyncIterator[PrivateRedis]:
    async with run_private(PrivateRedis) as server:
        yield server


@pytest.fixture
async def connections(private_redis: PrivateRedis) -> AsyncIterator[RedisConnections]:
    async with connected(str(private_redis.url), "hub") as connections:
        yield connections


def everything(counts: UnreadCounts) -> tuple[object, ...]:
    """With what does not take part in comparisons, and the keys' own types."""
    return counts, counts.next_expiry, [type(priority) for priority in counts.by_priority]


async def test_what_was_kept_comes_back_unchanged(cache: UnreadCache) -> None:
    assert await cache.get(["ana"]) == {}
    await cache.put({"ana": (STAMP, COUNTS)})
    [(user_id, (stamp, counts))] = (await cache.get(["ana"])).items()
    assert user_id == "ana"
    assert stamp == STAMP
    assert type(stamp) is UnreadStamp
    assert everything(counts) == everything(COUNTS)
    nothing = UnreadCounts(), UnreadStamp("", 0, 0, 0, 2**63 - 1)
    await cache.put({"bob": (nothing[1], nothing[0])})
    stamp, counts = (await cache.get(["bob"]))["bob"]
    assert (everything(counts), stamp) == (everything(nothing[0]), nothing[1])


async def test_the_latest_is_kept_of_each_user(cache: UnreadCache) -> None:
    counts = [UnreadCounts(total=total) for total in range(4)]
    await cache.put({"ana": (STAMP, counts[0]), "bob": (STAMP, counts[1])})
    await cache.put({"ana": (STAMP, counts[2]), "eve": (STAMP, counts[3])})
    await cache.put({})
    assert await cache.get(["eve", "ana", "cyd", "bob", "ana"]) == {
        "ana": (STAMP, counts[2]),
        "bob": (STAMP, counts[1]),
        "eve": (STAMP, counts[3]),
    }
    assert await cache.get(["ana"]) == {"ana": (STAMP, counts[2])}
    assert await cache.get([]) == {}


async def test_users_are_who_they_are(cache: UnreadCache) -> None:
    kept = {name: (STAMP, UnreadCounts(total=number)) for number, name in enumerate(NAMES)}
    for name, what in kept.items():
        assert await cache.get([name]) == {}
        await cache.put({name: what})
    assert await cache.get(NAMES) == kept


async def test_a_thousand_at_once(cache: UnreadCache) -> None:
    kept = {f"user {number}": (STAMP, UnreadCounts(total=number)) for number in range(1000)}
    await cache.put(kept)
    assert await cache.get(list(kept)) == kept


async def test_memory_forgets_whom_nobody_has_asked_about_for_longest() -> None:
    cache = MemoryUnreadCache(capacity=3)
    await cache.put(dict.fromkeys(["ana", "bob", "cyd"], (STAMP, COUNTS)))
    await cache.get(["ana"])
    await cache.put({"bob": (STAMP, UnreadCounts())})
    await cache.put({"dan": (STAMP, COUNTS)})
    assert (await cache.get(["ana", "bob", "cyd", "dan"])).keys() == {"ana", "bob", "dan"}
    await cache.put(dict.fromkeys(["eve", "fay", "gil", "hal"], (STAMP, COUNTS)))
    assert (await cache.get(["ana", "bob", "dan", "eve", "fay", "gil", "hal"])).keys() == {"fay", "gil", "hal"}


async def test_nodes_of_a_hub_share_it_and_no_other_hub_does() -> None:
    url = redis_url()
    async with redis_prefix() as prefix, redis_prefix() as other, connected(url, prefix) as connections:
        await RedisUnreadCache(connections, answer_seconds=PATIENT_SECONDS).put({"ana": (STAMP, COUNTS)})
        assert await RedisUnreadCache(connections, answer_seconds=PATIENT_SECONDS).get(["ana"]) == {
            "ana": (STAMP, COUNTS)
        }
        async with connected(url, other) as elsewhere:
            assert await RedisUnreadCache(elsewhere, answer_seconds=PATIENT_SECONDS).get(["ana"]) == {}


async def test_it_works_on_a_cluster() -> None:
    async with run_cluster("{hub}") as cluster, connected(cluster.url, "hub") as connections:
        cache = RedisUnreadCache(connections, answer_seconds=PATIENT_SECONDS)
        await cache.put({"ana": (STAMP, COUNTS), "bob": (STAMP, COUNTS)})
        assert await cache.get(["ana", "bob", "cyd"]) == {"ana": (STAMP, COUNTS), "bob": (STAMP, COUNTS)}


async def test_redis_forgets_by_itself_within_an_hour() -> None:
    async with redis_prefix() as prefix, connected(redis_url(), prefix) as connections:
        client: Any = connections.client
        cache = RedisUnreadCache(connections, answer_seconds=PATIENT_SECONDS)
        await cache.put({"ana": (STAMP, COUNTS), "bob": (STAMP, COUNTS)})
        keys = [key async for key in client.scan_iter(match=f"*{prefix}*", count=1000)]
        assert len(keys) == 2
        for key in keys:
            assert 3590 < await client.ttl(key) <= 3600
            await client.pexpire(key, 0)
        assert await cache.get(["ana", "bob"]) == {}


OTHERS = {
    "nothing": b"",
    "noise": b"\xc1\xff\x00",
    "text": b"total",
    "another version": msgpack.encode((0, STAMP, COUNTS)),
    "a later version": msgpack.encode((2, STAMP, COUNTS, "and more")),
    "another stamp": msgpack.encode((1, STAMP[:3], COUNTS)),
    "cut off": msgpack.encode((1, STAMP, COUNTS))[:-1],
}


@pytest.mark.parametrize("what", OTHERS)
async def test_what_something_else_has_put_there_is_not_taken(what: str) -> None:
    async with redis_prefix() as prefix, connected(redis_url(), prefix) as connections:
        client: Any = connections.client
        cache = RedisUnreadCache(connections, answer_seconds=PATIENT_SECONDS)
        await cache.put({"ana": (STAMP, COUNTS), "bob": (STAMP, COUNTS)})
        [key] = [key async for key in client.scan_iter(match=f"*{prefix}*ana", count=1000)]
        await client.set(key, OTHERS[what])
        assert await cache.get(["ana", "bob"]) == {"bob": (STAMP, COUNTS)}
        await cache.put({"ana": (STAMP, COUNTS)})
        assert await cache.get(["ana"]) == {"ana": (STAMP, COUNTS)}


async def test_without_redis_it_knows_nothing_says_so_once_and_tries_again_later(
    private_redis: PrivateRedis, connections: RedisConnections, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sse_hub.redis")
    cache = RedisUnreadCache(connections, answer_seconds=PATIENT_SECONDS)
    await cache.put({"ana": (STAMP, COUNTS)})
    await private_redis.stop()
    for _ in range(3):
        assert await cache.get(["ana"]) == {}
        await cache.put({"ana": (STAMP, COUNTS)})
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    await private_redis.start()
    await cache.put({"ana": (STAMP, COUNTS)})
    assert await cache.get(["ana"]) == {}  # it is not asked yet
    later(cache)
    await cache.put({"ana": (STAMP, COUNTS)})
    assert await cache.get(["ana"]) == {"ana": (STAMP, COUNTS)}
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_redis_that_hangs_is_waited_for_once_and_for_a_quarter_of_a_second(
    private_redis: PrivateRedis, connections: RedisConnections
) -> None:
    await RedisUnreadCache(connections, answer_seconds=PATIENT_SECONDS).put({"ana": (STAMP, COUNTS)})
    cache = RedisUnreadCache(connections)
    os.kill(private_redis.pid, signal.SIGSTOP)
    try:
        async with within(2):
            assert await seconds_to_know_nothing(cache) >= ANSWER_SECONDS
        assert pause_left(cache) > 0
        async with within(2):
            for _ in range(100):
                assert await cache.get(["ana"]) == {}
                await cache.put({"ana": (STAMP, COUNTS)})
        later(cache)
        waited = await asyncio.gather(*(seconds_to_know_nothing(cache) for _ in range(10)))
        assert len([seconds for seconds in waited if seconds >= ANSWER_SECONDS]) == 1
        assert await seconds_to_know_nothing(cache) < ANSWER_SECONDS
    finally:
        os.kill(private_redis.pid, signal.SIGCONT)
    async with within(PATIENT_SECONDS):
        while await cache.get(["ana"]) != {"ana": (STAMP, COUNTS)}:
            later(cache)


async def seconds_to_know_nothing(cache: UnreadCache) -> float:
    before = monotonic()
    assert await cache.get(["ana"]) == {}
    return monotonic() - before


def pause_left(cache: RedisUnreadCache) -> float:
    """For how long it does not ask Redis."""
    return cache._paused_until - asyncio.get_running_loop().time()


def later(cache: RedisUnreadCache) -> None:
    """As if the pause after a failure were over, and not a moment more."""
    assert 0 < pause_left(cache) <= 5
    cache._paused_until = asyncio.get_running_loop().time()
