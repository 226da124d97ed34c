"""Faults of Redis, and of the way to it. None of them concerns what is in the database, nor keeps anybody from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from redis.asyncio import Redis

from tests.chaos.faults import Fault
from tests.chaos.world import World
from tests.support.patience import within
from tests.support.private_servers import run_private
from tests.support.push_disorder import PushDisorder
from tests.support.redis_server import PrivateRedis
from tests.support.tcp_proxy import TcpProxy, run_proxy

TIMES = 5  # that something is done again, while it lasts
NO_LIMIT = "pubsub 33554432 8388608 60"
TIGHT = "pubsub 20000 0 0"  # less than a note with bulk takes
EFFECT_SECONDS = 20.0  # within which a fault that begins has had its effect
ENOUGH = 20  # notes that are doubled, and delayed
FAULTS = (
    "stop",
    "restart",
    "flush",
    "kill_subscribers",
    "pause",
    "overflow",
    "blackhole",
    "cut",
    "delay",
    "disarrange",
)


@dataclass(frozen=True)
class HarmedRedis:
    """A Redis of one's own, which nodes reach at `url`, by way of a proxy. Each fault lasts for so many `seconds`."""

    server: PrivateRedis
    proxy: TcpProxy
    url: str
    disorder: PushDisorder
    seconds: float

    def fault(self, name: str) -> Fault:
        """One of FAULTS."""
        fault: Fault = getattr(self, name)
        return fault

    async def stop(self, world: World) -> None:
        with world.run.bus_fault("Redis stopped"):
            await self.server.stop()
            await asyncio.sleep(self.seconds)
            await self.server.start()

    async def restart(self, world: World) -> None:
        """By kill -9, and at once."""
        with world.run.bus_fault("Redis killed and started"):
            await self.server.kill9()
            await self.server.start()
            await asyncio.sleep(self.seconds)

    async def flush(self, world: World) -> None:
        with world.run.bus_fault("FLUSHALL"):
            await self._again_and_again("FLUSHALL")

    async def kill_subscribers(self, world: World) -> None:
        with world.run.bus_fault("CLIENT KILL TYPE pubsub"):
            await self._again_and_again("CLIENT", "KILL", "TYPE", "pubsub")

    async def pause(self, world: World) -> None:
        with world.run.bus_fault("CLIENT PAUSE"):
            await self._command("CLIENT", "PAUSE", str(int(self.seconds * 1000)))
            await asyncio.sleep(self.seconds)

    async def overflow(self, world: World) -> None:
        """Each note of some size overflows the buffer that Redis has for a subscriber, who is then cut off."""
        with world.run.bus_fault("output buffers overflow"):
            cut_off = self._times_cut_off()
            await self._command("CONFIG", "SET", "client-output-buffer-limit", TIGHT)
            async with within(EFFECT_SECONDS):
                while self._times_cut_off() == cut_off:
                    await world.run.progress.more_answered(1)
            await asyncio.sleep(self.seconds)
            await self._command("CONFIG", "SET", "client-output-buffer-limit", NO_LIMIT)

    def _times_cut_off(self) -> int:
        return self.server.log.count("overcoming of output buffer limits")

    async def blackhole(self, world: World) -> None:
        with world.run.bus_fault("the way to Redis swallows everything"):
            self.proxy.blackhole()
            await asyncio.sleep(self.seconds)
            await self.proxy.heal()

    async def cut(self, world: World) -> None:
        with world.run.bus_fault("connections to Redis cut"):
            for _ in range(TIMES):
                self.proxy.cut()
                await asyncio.sleep(self.seconds / TIMES)

    async def delay(self, world: World) -> None:
        with world.run.bus_fault("the way to Redis is slow"):
            self.proxy.delay(0.3)
            await asyncio.sleep(self.seconds)
            await self.proxy.heal()

    async def disarrange(self, world: World) -> None:
        """Of what is published some comes twice, and some late."""
        with world.run.bus_fault("notes doubled, reordered and delayed"):
            doubled, delayed = self.disorder.doubled + ENOUGH, self.disorder.delayed + ENOUGH
            self.disorder.active = True
            await asyncio.sleep(self.seconds)
            async with within(EFFECT_SECONDS):
                while self.disorder.doubled < doubled or self.disorder.delayed < delayed:
                    await world.run.progress.more_answered(1)
            self.disorder.active = False

    async def _again_and_again(self, *words: str) -> None:
        for _ in range(TIMES):
            await self._command(*words)
            await asyncio.sleep(self.seconds / TIMES)

    async def _command(self, *words: str) -> None:
        async with Redis.from_url(str(self.server.url)) as operator:
            await operator.execute_command(*words)  # type: ignore[no-untyped-call]


@asynccontextmanager
async def harmed_redis(dice: Random, *, seconds: float) -> AsyncIterator[HarmedRedis]:
    disorder = PushDisorder(dice)
    async with run_private(PrivateRedis) as server, run_proxy(server.url, disorder) as (proxy, url):
        yield HarmedRedis(server, proxy, url, disorder, seconds)
