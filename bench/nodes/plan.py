"""How much of everything a run does."""

from collections.abc import Sequence
from dataclasses import dataclass

# Of each process: what most machines allow, and more than a worker or a load may need.
DESCRIPTORS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyPlan:
    """Very many streams over some workers. `periods` are those of heartbeats over which nothing else is done; `rounds`
    broadcasts of either kind.
    """

    streams: int
    workers: int
    heartbeat_seconds: int
    periods: int
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Sends at an even rate: so many messages in each request, so many requests a second."""

    messages: int
    per_second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreePlan:
    """Three nodes beside one, each with so many `streams`. `rounds` are of broadcasts of either kind.

    Latency is that of `per_second` messages, in `latency_rounds` of `latency_seconds`. Notes are counted and their cost
    is measured while each of `requests` goes on, in `note_rounds` of `note_seconds`.
    """

    streams: int
    rounds: int
    per_second: int
    latency_rounds: int
    latency_seconds: float
    requests: Sequence[Requests]
    note_rounds: int
    note_seconds: float


FULL_MANY = ManyPlan(streams=100_000, workers=6, heartbeat_seconds=30, periods=2, rounds=5)
QUICK_MANY = ManyPlan(streams=600, workers=2, heartbeat_seconds=1, periods=1, rounds=1)
FULL_THREE = ThreePlan(
    streams=5000,
    rounds=11,
    per_second=1000,
    latency_rounds=3,
    latency_seconds=10,
    requests=[
        Requests(messages=1, per_second=250),
        Requests(messages=1, per_second=1000),
        Requests(messages=10, per_second=100),
        Requests(messages=100, per_second=20),
    ],
    note_rounds=5,
    note_seconds=5,
)
QUICK_THREE = ThreePlan(
    streams=100,
    rounds=1,
    per_second=200,
    latency_rounds=1,
    latency_seconds=0.5,
    requests=[Requests(messages=1, per_second=50), Requests(messages=10, per_second=20)],
    note_rounds=1,
    note_seconds=0.5,
)
