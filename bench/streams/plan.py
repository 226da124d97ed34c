"""How much of everything a run does."""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_STREAMS = 16_000
# Sizes in tenths of the streams asked for: 1,000 to 16,000 of 10,000.
_GROWTH = (0.1, 0.2, 0.4, 0.8, 1.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything. `streams` are open in every scenario that does not say otherwise.

    `growth_rounds` and `rounds` are broadcasts one at a time, at the sizes of `growth` and at `streams`; `bursts` are
    of `burst` broadcasts each. `batches` have `batch` messages, each for another user. `unicast_seconds` of
    `unicast_rate` messages a second. `heartbeat_seconds` is the period of heartbeats where these are measured, over
    two of them. `in_process` is the number of messages sent in-process.
    """

    streams: int
    growth_rounds: int
    rounds: int
    bursts: int
    burst: int
    batches: int
    batch: int
    unicast_rate: int
    unicast_seconds: int
    heartbeat_seconds: int
    in_process: int
    steady_rounds: int

    @property
    def growth(self) -> Sequence[int]:
        """The numbers of streams over which the growth of cost is followed."""
        return sorted({min(int(self.streams * share), MOST_STREAMS) for share in _GROWTH})

    @property
    def sizes(self) -> Sequence[int]:
        """All the numbers of streams that broadcasts are sent to."""
        return sorted({*self.growth, self.streams})


FULL = Plan(
    streams=10_000,
    growth_rounds=5,
    rounds=11,
    bursts=3,
    burst=20,
    batches=100,
    batch=1000,
    unicast_rate=1000,
    unicast_seconds=35,
    heartbeat_seconds=30,
    in_process=200_000,
    steady_rounds=10,
)
QUICK = Plan(
    streams=200,
    growth_rounds=2,
    rounds=3,
    bursts=2,
    burst=5,
    batches=4,
    batch=100,
    unicast_rate=200,
    unicast_seconds=1,
    heartbeat_seconds=1,
    in_process=1000,
    steady_rounds=2,
)
