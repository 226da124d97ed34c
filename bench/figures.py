"""What comes out of a measurement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of broadcasts: what a delivery cost and how long it took from the POST to the reader.

    `client_busy` is the share of the round that the load process spent on its CPU: near 1 it was the
    bottleneck, and the latencies and the rate are its own rather than the server's.
    """

    cpu_us_per_delivery: float
    deliveries_per_second: float
    latency_ms_p50: float
    latency_ms_p99: float
    latency_ms_max: float
    client_busy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOut:
    """Streams and broadcasts of one server."""

    bytes_per_stream: float
    cpu_us_per_open: float
    singles: Sequence[Round]
    bursts: Sequence[Round]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sends:
    """Messages accepted through `/send/batch`, and how many of them were found again afterwards."""

    sent: int
    found: int
    seconds: float
    server_cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyState:
    """The server's memory after each of several equal rounds of work."""

    memory_bytes: Sequence[int]
    slope_bytes_per_round: float
    deliveries_per_round: int
    reconnects_per_round: int


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the ordered values does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
