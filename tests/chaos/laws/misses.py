"""What was owed to a stream and not given: seen by what came after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.laws.evidence import Message
from tests.chaos.record import FOREVER

if TYPE_CHECKING:
    from tests.chaos.laws.streams import Stream, Streams


class Miss(NamedTuple):
    """`place` is that of the frame which came in its stead, at that time; for one that stays to the end, the end."""

    stream: Stream
    message: Message
    place: int
    at: float

    def __str__(self) -> str:
        return f"{self.stream} was not given {self.message}, by {self.at:.3f}"


def find_misses(streams: Streams) -> Iterator[Miss]:
    """Each once: what was missed up to the presented cursor is not missed again after it."""
    missing: list[dict[int, int]] = []  # of each connection: by seq, from which frame on
    for stream in streams:
        resumed_from = stream.connection.resumed_from
        theirs: dict[int, int] = {}
        if stream.origin is not None and resumed_from is not None:
            earlier = missing[resumed_from.connection]
            theirs = {seq: -1 for seq, place in earlier.items() if place <= resumed_from.frame}
        for miss in _missed(streams, stream):
            if miss.message.seq not in theirs:
                theirs[miss.message.seq] = miss.place
                yield miss
        missing.append(theirs)


def _missed(streams: Streams, stream: Stream) -> Iterator[Miss]:
    # Also what comes too late is given: that it does is another matter.
    given = stream.before.union(gift.message.seq for gift in stream.gifts)
    lanes: tuple[list[Message], list[Message], list[Message]] = ([], [], [])
    for message in reversed(streams.audience(stream)):
        if message.seq not in given:
            lanes[message.priority].append(message)

    def passed_over(priority: int, seq: float, place: int, at: float) -> Iterator[Miss]:
        lane = lanes[priority]
        while lane and lane[-1].seq <= seq:
            message = lane.pop()
            if streams.must_give(stream, message, at):
                yield Miss(stream, message, place, at)

    for gift in stream.gifts:
        # A node applies the log in order, so all of a lower seq that is as urgent has had its turn.
        for priority in range(gift.message.priority, 3):
            yield from passed_over(priority, gift.message.seq, gift.place, gift.received.at)
    connection = stream.connection
    if connection.end == "finished":
        for priority in range(3):
            for miss in passed_over(priority, FOREVER, len(connection.frames), connection.until):
                if streams.evidence.learnt_by(connection.node, miss.message.answered_at) < connection.until:
                    yield miss
