"""Laws of what is given: nothing missed, nobody else's, nothing expired or read (SPEC §3.1, §3.3, §3.5–3.7, §3.9)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from tests.chaos.laws.misses import Miss
from tests.chaos.laws.streams import Passed, Stream, Streams
from tests.chaos.record import Send

RECORD_SECONDS = 10.0  # within which a node writes down what was given, unless it dies


def nothing_is_missed(streams: Streams) -> Iterator[str]:
    """§3.1: what was committed reaches every stream in its audience, or has expired, been read or been revoked. What
    a stream was given shows up to where that is settled: a later message of its priority, or of a lower one, has come;
    and a reader that stays has everything in the end."""
    for miss in streams.misses:
        if not _was_there_to_resume(miss):
            yield str(miss)


def complete_is_complete(streams: Streams) -> Iterator[str]:
    """§3.3, §3.5: a stream that is told that it resumes completely is given all that had been sent before it resumed.
    No silent gap: that it is not complete would have to be told by `sse.reset`."""
    for miss in streams.misses:
        if _was_there_to_resume(miss):
            yield f"{miss}, though it resumed from {miss.stream.connection.cursor} and was told so"


def _was_there_to_resume(miss: Miss) -> bool:
    return miss.stream.origin is not None and miss.message.answered_at < miss.stream.connection.asked_at


def who_stays_is_served(streams: Streams) -> Iterator[str]:
    """§3.1: a reader that stays comes to the end of what is its own, over however many connections."""
    finished = {stream.connection.reader for stream in streams if stream.connection.end == "finished"}
    for reader in streams.evidence.record.readers:
        if reader.stays and reader.name not in finished:
            yield f"{reader.name} never came to the end"


def only_its_own(streams: Streams) -> Iterator[str]:
    """§3.6: a stream is given its user's, its client's, its groups' and broadcast messages, of the types that it asked
    for, whatever cursor it presents. A group's begin at the join and end at the leave."""
    for stream in streams:
        for gift in stream.gifts:
            if not streams.may_give(stream, gift.message, gift.received):
                yield f"{stream}, of {_who(stream)}, was given {gift.message}"


def only_its_own_in_passing(streams: Streams) -> Iterator[str]:
    """§3.6, §3.9: ephemeral messages are for the same audience."""
    for stream in streams:
        for passed in stream.passed:
            if not streams.may_pass(stream, passed.send, passed.received):
                yield f"{stream}, of {_who(stream)}, was given ephemeral {passed.send}"


def _who(stream: Stream) -> str:
    connection = stream.connection
    return f"user {connection.user_id}, client {stream.client_id}, groups {connection.groups}"


def nothing_expired_is_written(streams: Streams) -> Iterator[str]:
    """§3.7: an expired message is never written to a stream. What is read late may have been written in time: only of
    what came when the reader had been waiting is it known."""
    for stream in streams:
        for gift in stream.gifts:
            if gift.message.is_expired(gift.received.not_before):
                expired, waited = gift.message.expires_by, gift.received.not_before
                yield f"{stream} was given {gift.message} later than {waited:.3f}, and it expired at {expired:.3f}"
        for passed in stream.passed:
            send = passed.send
            if send.ttl is not None and send.answered_at + send.ttl < passed.received.not_before - 1:
                yield f"{stream} was given expired ephemeral {send}"


def nothing_read_is_replayed(streams: Streams) -> Iterator[str]:
    """§4: a replay skips what is read. What was read well before a stream was asked for can only come by a replay."""
    for stream in streams:
        connection = stream.connection
        for gift in stream.gifts:
            read_at = streams.marks.read_at(connection.user_id, gift.message)
            if streams.evidence.learnt_by(connection.node, read_at) < connection.asked_at:
                yield f"{stream} was given {gift.message}, which its user had read by {read_at:.3f}"


def pending_is_given_once(streams: Streams) -> Iterator[str]:
    """§4: a stream that begins with what is pending skips what another of its user's has been given before."""
    for stream in streams:
        connection = stream.connection
        if stream.origin is not None or stream.foreign or connection.user_id is None:
            continue
        if connection.replay != "pending" or connection.since is not None or connection.client_id is not None:
            continue
        known = {
            gift.message.seq: other.number
            for other in streams.earlier(stream, "user", connection.user_id)
            for gift in streams.all[other.number].gifts
            if streams.evidence.is_calm(other.node, gift.received.at, gift.received.at + RECORD_SECONDS)
            and gift.received.at + RECORD_SECONDS < connection.asked_at
        }
        for gift in stream.gifts:
            if gift.message.seq in known:
                yield f"{stream} was given {gift.message}, which connection {known[gift.message.seq]} had"


# What passes by


def ephemeral_at_most_once(streams: Streams) -> Iterator[str]:
    """§3.9: an ephemeral message reaches a stream at most once."""
    for stream in streams:
        seen: set[int] = set()
        for passed in stream.passed:
            if passed.send.n in seen:
                yield f"{stream} was given ephemeral message {passed.send.n} twice"
            seen.add(passed.send.n)


def ephemeral_is_live_only(streams: Streams) -> Iterator[str]:
    """§1, §3.9: an ephemeral message is never replayed. From another node it may come as late as the bus brings it."""
    for stream in streams:
        connection = stream.connection
        for passed in stream.passed:
            answered_at = passed.send.answered_at
            if streams.evidence.learnt_by(connection.node, answered_at, over_the_bus=True) < connection.asked_at:
                yield f"{stream}, asked for at {connection.asked_at:.3f}, was given ephemeral {passed.send}"


def ephemeral_keeps_its_order(streams: Streams) -> Iterator[str]:
    """§3.9: ephemeral messages keep their order within a priority on the node that took them."""
    if not streams.evidence.record.one_process:
        return
    for stream in streams:
        by_lane = sorted(_taken_here(stream), key=lambda passed: passed.send.priority)
        for _, lane in groupby(by_lane, key=lambda passed: passed.send.priority):
            latest: Send | None = None  # of those that came, the one that was sent last
            last_of_batch: dict[int, int] = {}
            for passed in lane:
                send = passed.send
                if latest is not None and send.answered_at < latest.at:
                    yield f"{stream} was given ephemeral message {send.n} after {latest.n}"
                elif last_of_batch.get(send.batch, 0) > send.n:
                    yield f"{stream} was given ephemeral message {send.n} after {last_of_batch[send.batch]}"
                if latest is None or latest.at < send.at:
                    latest = send
                last_of_batch[send.batch] = send.n


def _taken_here(stream: Stream) -> Iterator[Passed]:
    """Without repeats, which are another matter."""
    seen: set[int] = set()
    for passed in stream.passed:
        accepted = passed.send.accepted
        if accepted is not None and accepted.node == stream.connection.node and passed.send.n not in seen:
            seen.add(passed.send.n)
            yield passed


LAWS = (
    nothing_is_missed,
    complete_is_complete,
    who_stays_is_served,
    only_its_own,
    only_its_own_in_passing,
    nothing_expired_is_written,
    nothing_read_is_replayed,
    pending_is_given_once,
    ephemeral_at_most_once,
    ephemeral_is_live_only,
    ephemeral_keeps_its_order,
)
