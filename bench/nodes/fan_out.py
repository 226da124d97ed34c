"""Broadcasts to the streams of three nodes and of a single one, in turns, and what each node itself uses for them."""

import time
from collections.abc import Mapping, Sequence

from bench.nodes.figures import FanOut
from bench.nodes.loaded_hub import LoadedHub
from bench.nodes.surroundings import recorded
from bench.streams.figures import Round

_WARM_UP_ROUNDS = 1
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.1


class MeasuredHub:
    """A hub on the streams of each of whose nodes broadcasts are measured; each node has one load."""

    def __init__(self, hub: LoadedHub, environment: Mapping[str, str], idle: Sequence[float]) -> None:
        """`idle` are the shares of a core that the nodes use when there is nothing to do."""
        self._hub = hub
        self._environment = environment
        self._idle = idle
        self._seq = 0

    def broadcast(self, *, persist: bool) -> list[Round]:
        """One round, by node, from rest to rest; what goes on all the time is not in it."""
        hub = self._hub
        self.await_recorded()
        before = [(server.cpu_seconds_at_rest(), time.monotonic()) for server in hub.servers]
        received = hub.broadcast(persist=persist)
        after = [(server.cpu_seconds_at_rest(), time.monotonic()) for server in hub.servers]
        hub.check_each_once()
        self._seq = received.seq or 0
        return [
            Round(
                server_cpu_seconds=end - start - idle * (until - since), load_cpu_seconds=load, latencies_ms=latencies
            )
            for (start, since), (end, until), idle, load, latencies in zip(
                before, after, self._idle, received.load_cpu_seconds, received.latencies_ms, strict=True
            )
        ]

    def await_recorded(self) -> None:
        """Until it is written that the last broadcast was delivered: else that would be counted as what comes next."""
        streams = sum(load.streams for load in self._hub.loads)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._seq and recorded(self._environment, self._seq) < streams:
            if time.monotonic() > deadline:
                raise TimeoutError(f"what was delivered was not recorded within {_PATIENCE_SECONDS} s")
            time.sleep(_POLL_SECONDS)


def fan_out(single: MeasuredHub, three: MeasuredHub, rounds: int, *, persist: bool) -> FanOut:
    """Both hubs are up at the same time, so whatever else the machine does weighs on both alike."""
    turns = [
        (single.broadcast(persist=persist), three.broadcast(persist=persist)) for _ in range(_WARM_UP_ROUNDS + rounds)
    ][_WARM_UP_ROUNDS:]
    single.await_recorded()
    three.await_recorded()
    return FanOut(
        single=[of_single[0] for of_single, _ in turns],
        nodes=list(zip(*(of_three for _, of_three in turns), strict=True)),
    )
