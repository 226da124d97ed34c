"""What comes out of a measurement."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.streams.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of broadcasts: what it cost, and how long each delivery took from just before the first POST until the
    load had read the frame, in rising order.

    Where `load_busy` is near 1 the load was the bottleneck, and the latencies and the rate are its own.
    """

    server_cpu_seconds: float
    load_cpu_seconds: float
    latencies_ms: Sequence[float]

    @property
    def cpu_us_per_delivery(self) -> float:
        """Of the server."""
        return self.server_cpu_seconds * 1e6 / len(self.latencies_ms)

    @property
    def deliveries_per_second(self) -> float:
        return len(self.latencies_ms) * 1000 / self.latencies_ms[-1]

    @property
    def load_cpu_us_per_delivery(self) -> float:
        """Of the load: with as much of a core as the server, it is the bottleneck only if this is more."""
        return self.load_cpu_seconds * 1e6 / len(self.latencies_ms)

    @property
    def load_busy(self) -> float:
        """The share of the round that the load spent on its CPU."""
        return self.load_cpu_seconds * 1000 / self.latencies_ms[-1]

    def latency_ms(self, share: float) -> float:
        """What this share of the deliveries did not exceed."""
        return percentile(self.latencies_ms, share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One server with so many streams: its memory while they were idle, and broadcasts one at a time."""

    streams: int
    memory_bytes: int
    rounds: Sequence[Round]

    @property
    def cpu_us_per_delivery(self) -> float:
        """Of the median round."""
        return median(each.cpu_us_per_delivery for each in self.rounds)

    def latency_ms(self, share: float) -> float:
        """Of the median round: what this share of its deliveries did not exceed."""
        return median(each.latency_ms(share) for each in self.rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOut:
    """Streams and broadcasts of one server: by the number of streams, rising, and in bursts to `streams` of them.

    `memory_bytes_before` and `streams_before` are from before the first size.
    """

    streams: int
    streams_before: int
    memory_bytes_before: int
    sizes: Sequence[Size]
    bursts: Sequence[Round]

    @property
    def main(self) -> Size:
        """The size that bursts were measured at too."""
        return next(size for size in self.sizes if size.streams == self.streams)

    @property
    def bytes_per_stream(self) -> float:
        """The server's memory for one more idle stream, up to the main size."""
        return (self.main.memory_bytes - self.memory_bytes_before) / (self.streams - self.streams_before)

    @property
    def deliveries_per_second(self) -> float:
        """In bursts."""
        return median(burst.deliveries_per_second for burst in self.bursts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Streams that open at once on a fresh server and then only stand there.

    `heartbeat_cpu_seconds` is the server's over `heartbeat_window_seconds`, which is some periods of heartbeats.
    """

    streams: int
    opening_seconds: float
    opening_cpu_seconds: float
    opening_load_cpu_seconds: float
    heartbeat_seconds: int
    heartbeat_window_seconds: float
    heartbeat_cpu_seconds: float

    @property
    def opened_per_second(self) -> float:
        return self.streams / self.opening_seconds

    @property
    def heartbeat_share(self) -> float:
        """The share of a core."""
        return self.heartbeat_cpu_seconds / self.heartbeat_window_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Unicast:
    """Messages to one user each at an even rate, and how long each took from the moment it was due to be sent, in
    rising order. A pause of the server delays all that fall into it, so the greatest is a bound for its pauses.
    """

    streams: int
    per_second: int
    seconds: float
    server_cpu_seconds: float
    latencies_ms: Sequence[float]

    def latency_ms(self, share: float) -> float:
        """What this share of the messages did not exceed."""
        return percentile(self.latencies_ms, share)

    @property
    def server_busy(self) -> float:
        """The share of a core."""
        return self.server_cpu_seconds / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Sends:
    """Messages to one user each, how many of them were found again, and the seconds until the last was.

    Persisted ones count as found when they are read back, which takes no part in the time.
    """

    sent: int
    found: int
    seconds: float
    server_cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.sent / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyState:
    """The server's memory after each of several equal rounds of work."""

    memory_bytes: Sequence[int]
    slope_bytes_per_round: float
    deliveries_per_round: int
    reconnects_per_round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that one run measured; what was left out is empty or None. Fan-out and steady states are by the name
    of the target, sends by what was sent.
    """

    plan: Plan
    fan_out: Mapping[str, FanOut]
    idle: Idle | None = None
    unicast: Unicast | None = None
    sends: Mapping[str, Sends] = field(default_factory=dict)
    steady: Mapping[str, SteadyState] = field(default_factory=dict)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the ordered values does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
