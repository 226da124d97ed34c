"""What comes out of a measurement, of one database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Appending:
    """One round of a way to put messages into the log; `cpu_seconds` is this process's, not the server's."""

    messages: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.messages / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Appends:
    """By the name of the way: the driver's own, and the sequencer's. They took turns, so the first round of one belongs
    with the first of every other. `messages_a_transaction`: how many the sequencer committed together, on average.
    """

    own: Mapping[str, Sequence[Appending]]
    sequencer: Mapping[str, Sequence[Appending]]
    messages_a_transaction: Mapping[str, float]

    @property
    def fastest(self) -> str:
        """Which of the driver's own ways that is, by the median."""
        return max(self.own, key=lambda way: median(each.per_second for each in self.own[way]))

    def ratio(self, way: str) -> float:
        """How much of the fastest own way's rate the sequencer reaches so, the median over the rounds."""
        rounds = zip(self.sequencer[way], self.own[self.fastest], strict=True)
        return median(sequencer.per_second / own.per_second for sequencer, own in rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sends:
    """One round of messages through `/send/batch`. `database_cpu_seconds` is what the hub's connections took of the
    server's CPU, None where that is not to be read.
    """

    messages: int
    seconds: float
    hub_cpu_seconds: float
    database_cpu_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AllSends:
    """All rounds, and how many messages were in the log after them."""

    rounds: Sequence[Sends]
    sent: int
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """One round of reads one after the other, in milliseconds. Of these so many `failed`, however long they took."""

    p50: float
    p99: float
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumes:
    """The milliseconds of each resume, on a short log and on a long one. They took turns."""

    short: Sequence[float]
    long: Sequence[float]

    @property
    def ratio(self) -> float:
        """How much longer the long log takes, the median over the rounds."""
        return median(long / short for short, long in zip(self.short, self.long, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All about one database. `unread` is by the way it was asked, `resumes` by how many messages were missed."""

    appends: Appends
    sends: AllSends
    unread: Mapping[str, Sequence[Latency]]
    resumes: Mapping[int, Resumes]
