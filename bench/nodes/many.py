"""Very many streams on one hub of several workers, on whatever cores there are."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.nodes.figures import ManyStreams, Memory, Work, WorkerShare
from bench.nodes.loaded_hub import LoadedHub, info, loaded_hub
from bench.nodes.plan import DESCRIPTORS, ManyPlan
from bench.nodes.sockets import connections, descriptors
from bench.nodes.surroundings import RedisBooks, recorded
from bench.process import memory_bytes_of
from bench.streams.figures import Round

_STREAMS_BEFORE = 10  # a worker
_OWN_DESCRIPTORS = 100  # of a worker or a load, for other things than streams
_SIGMAS = 5  # how far the fullest worker's share may lie beyond the mean
_SETTLE_SECONDS = 2.0  # until what has just been opened is told to the other nodes, and its waste collected
_PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.25


def too_many(plan: ManyPlan, *, separate: bool) -> str | None:
    """Why so many streams have no place on so many workers; None if they have."""
    mean = plan.streams / plan.workers
    # The kernel gives each connection to a worker by a hash: to each with the same probability.
    spread = 0.0 if separate else _SIGMAS * math.sqrt(mean * (1 - 1 / plan.workers))
    need = math.ceil(mean + spread) + _OWN_DESCRIPTORS
    if need > DESCRIPTORS:
        return (
            f"{plan.streams:,} streams over {plan.workers} workers may need {need:,} descriptors in one of them, and a "
            f"process has {DESCRIPTORS:,}: more --workers, or fewer --streams"
        )
    return None


def many_streams(
    plan: ManyPlan,
    environment: Mapping[str, str],
    redis: RedisBooks,
    directory: Path,
    program: Path,
    *,
    separate: bool,
    tell: Callable[[str], None],
) -> ManyStreams:
    """`separate`: the workers are servers by themselves, each with a port of its own, and have equally many streams."""
    servers, workers = (plan.workers, 1) if separate else (1, plan.workers)
    loads = math.ceil(plan.streams / servers / (DESCRIPTORS - _OWN_DESCRIPTORS))
    with loaded_hub(environment, directory, program, nodes=servers, workers=workers, loads=loads) as hub:
        hub.await_nodes(plan.workers)
        return _Many(plan, environment, redis, hub, tell).measure()


class _Many:
    def __init__(
        self,
        plan: ManyPlan,
        environment: Mapping[str, str],
        redis: RedisBooks,
        hub: LoadedHub,
        tell: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._environment = environment
        self._redis = redis
        self._hub = hub
        self._tell = tell
        self._idle_share = 0.0

    def measure(self) -> ManyStreams:
        plan, hub = self._plan, self._hub
        pids = hub.pids()
        streams_before = _STREAMS_BEFORE * plan.workers
        hub.open_up_to(streams_before)
        time.sleep(_SETTLE_SECONDS)
        memory_before = self._memory()
        self._tell(f"opening {plan.streams:,} streams over {plan.workers} workers")
        opening = self._work(lambda: hub.open_up_to(plan.streams))
        reported = self._reported()
        time.sleep(_SETTLE_SECONDS)
        memory, workers = self._memory(), self._workers()
        self._tell(f"{plan.periods} × {plan.heartbeat_seconds} s of heartbeats")
        idle = self._work(lambda: time.sleep(plan.periods * plan.heartbeat_seconds))
        self._idle_share = idle.hub / idle.seconds
        self._tell(f"broadcasts to {plan.streams:,} streams")
        ephemeral = [self._ephemeral() for _ in range(plan.rounds)]
        persisted = [self._persisted() for _ in range(plan.rounds)]
        if hub.pids() != pids:
            raise RuntimeError("a worker has ended meanwhile, and another has taken its place")
        return ManyStreams(
            streams_before=streams_before,
            memory_before=memory_before,
            opening=opening,
            reported=reported,
            workers=workers,
            memory=memory,
            idle=idle,
            ephemeral=ephemeral,
            persisted=[each for each, _ in persisted],
            recording=[cpu_seconds for _, cpu_seconds in persisted],
            memory_after=self._memory(),
        )

    def _work(self, do: Callable[[], object]) -> Work:
        hub, redis = self._hub, self._redis
        began, before = time.monotonic(), (hub.cpu_seconds(), redis.cpu_seconds(), hub.load_cpu_seconds())
        do()
        after = hub.cpu_seconds(), redis.cpu_seconds(), hub.load_cpu_seconds()
        hub_used, redis_used, load_used = (now - then for then, now in zip(before, after, strict=True))
        return Work(seconds=time.monotonic() - began, hub=hub_used, redis=redis_used, load=load_used)

    def _memory(self) -> Memory:
        return Memory(
            hub=sum(server.memory_bytes() for server in self._hub.servers),
            redis=self._redis.memory_bytes(),
            redis_process=self._redis.process_bytes(),
        )

    def _workers(self) -> list[WorkerShare]:
        """The fullest first."""
        pids = self._hub.pids()
        streams = connections(pids, [server.port for server in self._hub.servers])
        shares = [
            WorkerShare(streams=count, descriptors=descriptors(pid), memory_bytes=memory_bytes_of(pid))
            for pid, count in streams.items()
            if count  # a supervisor has none
        ]
        return sorted(shares, key=lambda share: share.streams, reverse=True)

    def _reported(self) -> int:
        """How many streams the nodes have told each other of, once that is all of them or has taken long enough."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            told = int(info(self._hub.servers[0])["connections"])
            if told == self._plan.streams or time.monotonic() > deadline:
                return told
            time.sleep(_POLL_SECONDS)

    def _ephemeral(self) -> Round:
        each, _ = self._broadcast(persist=False)
        time.sleep(_SETTLE_SECONDS)
        self._hub.check_each_once()
        return each

    def _persisted(self) -> tuple[Round, float]:
        """A broadcast, and the CPU time that the hub then used to record that it was delivered."""
        each, seq = self._broadcast(persist=True)
        assert seq is not None
        began, cpu_before = time.monotonic(), self._hub.cpu_seconds()
        while recorded(self._environment, seq) < self._plan.streams:
            if time.monotonic() > began + _PATIENCE_SECONDS:
                raise TimeoutError(f"what was delivered was not recorded within {_PATIENCE_SECONDS} s")
            time.sleep(_POLL_SECONDS)
        recording = self._hub.cpu_seconds() - cpu_before - self._idle_share * (time.monotonic() - began)
        self._hub.check_each_once()
        return each, recording

    def _broadcast(self, *, persist: bool) -> tuple[Round, int | None]:
        began, cpu_before = time.monotonic(), self._hub.cpu_seconds()
        received = self._hub.broadcast(persist=persist)
        used = self._hub.cpu_seconds() - cpu_before
        figures = Round(
            server_cpu_seconds=used - self._idle_share * (time.monotonic() - began),
            load_cpu_seconds=sum(received.load_cpu_seconds),
            latencies_ms=sorted(latency for load in received.latencies_ms for latency in load),
        )
        return figures, received.seq
