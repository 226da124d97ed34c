"""What comes out of a measurement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.nodes.plan import ManyPlan, Requests, ThreePlan
from bench.streams.figures import Round, percentile


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes, of the hub's processes together (PSS), of Redis by its own account, and of its process (PSS)."""

    hub: int
    redis: int
    redis_process: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerShare:
    """What one worker has of all streams."""

    streams: int
    descriptors: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """CPU seconds used over some time."""

    seconds: float
    hub: float
    redis: float
    load: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyStreams:
    """Very many streams over some workers.

    `streams_before` and `memory_before` are from before they were opened; `reported` is how many the nodes have then
    told each other of. `recording` has the hub's CPU seconds after each persisted broadcast until it had written what
    was delivered. What goes on all the time is taken off the CPU of broadcasts and of recording.
    """

    streams_before: int
    memory_before: Memory
    opening: Work
    reported: int
    workers: Sequence[WorkerShare]
    memory: Memory
    idle: Work
    ephemeral: Sequence[Round]
    persisted: Sequence[Round]
    recording: Sequence[float]
    memory_after: Memory

    @property
    def streams(self) -> int:
        return sum(worker.streams for worker in self.workers)

    @property
    def hub_bytes_per_stream(self) -> float:
        """Workers and supervisor together, for one more idle stream."""
        return (self.memory.hub - self.memory_before.hub) / (self.streams - self.streams_before)

    @property
    def redis_bytes_per_stream(self) -> float:
        return (self.memory.redis - self.memory_before.redis) / (self.streams - self.streams_before)


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOut:
    """Rounds of broadcasts on a single node, and on each of three to the first of which they were sent."""

    single: Sequence[Round]
    nodes: Sequence[Sequence[Round]]

    def ratio(self, node: int) -> float:
        """A node's CPU per delivery, by the single node's."""
        return cpu_us_per_delivery(self.nodes[node]) / cpu_us_per_delivery(self.single)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One round of messages at an even rate: from when each was due to its receipt, in rising order; and shares of a
    core: of the node that they were sent to, of that where they were received, of the load there, of the publisher.
    """

    latencies_ms: Sequence[float]
    sender_busy: float
    receiver_busy: float
    load_busy: float
    publisher_busy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """One round of persisted messages, and what their notes cost a node that has nobody to give them to, beside what it
    uses anyway.
    """

    seconds: float
    messages: int
    notes: int
    cpu_seconds: float

    @property
    def cpu_us_per_note(self) -> float:
        return self.cpu_seconds * 1e6 / self.notes


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreeNodes:
    """Three nodes beside one. Fan-out is by whether it was persisted, latency by the name of the way, notes by how they
    were sent. `idle` is the share of a core that a node uses which has nothing to do: the single one, and each of the
    three.
    """

    idle: Sequence[float] = ()
    fan_out: Mapping[bool, FanOut] = field(default_factory=dict)
    crossings: Mapping[str, Sequence[Crossing]] = field(default_factory=dict)
    notes: Mapping[Requests, Sequence[Notes]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that one run measured; what was left out is None. Remarks are for the page's head."""

    remarks: Sequence[str]
    many_plan: ManyPlan
    three_plan: ThreePlan
    many: ManyStreams | None = None
    three: ThreeNodes | None = None


def cpu_us_per_delivery(rounds: Sequence[Round]) -> float:
    """Of the median round."""
    return median(each.cpu_us_per_delivery for each in rounds)


def latency_ms(crossings: Sequence[Crossing], share: float) -> float:
    """Of the median round: what this share of its messages did not exceed."""
    return median(percentile(each.latencies_ms, share) for each in crossings)
