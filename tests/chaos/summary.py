"""What a run was made of, in figures: so that a person sees whether it was worth anything."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.chaos.laws.evidence import leading_seq
from tests.chaos.record import Connection, Record


@dataclass(frozen=True, kw_only=True)
class Summary:
    """`overtakings`: deliveries of a message after one of a greater seq. `unanswered`: attempts to send."""

    faults: Counter[str]
    messages: int
    unanswered: int
    deliveries: int
    overtakings: int
    connections: int
    resumes: int

    def __str__(self) -> str:
        faults = ", ".join(f"{count} × {name}" if count > 1 else name for name, count in self.faults.items())
        return (
            f"{self.messages} messages ({self.unanswered} sends without an answer), {self.deliveries} deliveries "
            f"({self.overtakings} overtaken), {self.connections} connections, {self.resumes} resumes; "
            f"faults: {faults or 'none'}"
        )


def summary(record: Record) -> Summary:
    return Summary(
        faults=Counter(fault.name for fault in record.faults),
        messages=len(record.sends),
        unanswered=sum(not attempt.accepted for send in record.sends for attempt in send.attempts),
        deliveries=sum(frame.is_message for connection in record.connections for frame in connection.frames),
        overtakings=sum(map(_overtakings, record.connections)),
        connections=sum(bool(connection.frames) for connection in record.connections),
        resumes=sum(bool(c.frames) and c.resumed_from is not None for c in record.connections),
    )


def _overtakings(connection: Connection) -> int:
    furthest = count = 0
    for frame in connection.frames:
        if frame.is_message and frame.id is not None:
            seq = leading_seq(frame.id)
            count += seq < furthest
            furthest = max(furthest, seq)
    return count
