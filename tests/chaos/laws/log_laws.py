"""Laws of the log, and of what publishers were answered (SPEC §1, §2 Sending, §3.1, §3.7, §3.8)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime

from tests.chaos.laws.evidence import CLOCK_SECONDS, settled_at
from tests.chaos.laws.streams import Streams
from tests.chaos.record import Attempt, Row, Send

OVERLOADED = (429, 503)


def seq_is_dense(streams: Streams) -> Iterator[str]:
    """§1: seq is one dense series from 1 on. Only what has expired may be gone from it without a trace."""
    evidence = streams.evidence
    log = evidence.record.log
    present = {row.seq for row in log.rows} | {message.seq for message in evidence.messages}
    gone = [seq for seq in range(log.purged_through + 1, log.last_seq + 1) if seq not in present]
    # One that nobody was told of may have been committed, and expired.
    unknown = sum(
        send.persist and send.ttl is not None and send.n not in evidence.by_n for send in evidence.record.sends
    )
    if len(gone) > unknown:
        yield f"nothing has seq {gone[:10]}, and only {unknown} messages may be gone without a trace"
    for row in log.rows:
        if not 1 <= row.seq <= log.last_seq:
            yield f"seq {row.seq} lies beyond the log's end, {log.last_seq}"


def event_id_is_unique(streams: Streams) -> Iterator[str]:
    """§1: an event_id names one message."""
    counted = Counter(row.event_id for row in streams.evidence.record.log.rows)
    for event_id, count in counted.items():
        if count > 1:
            yield f"event_id {event_id} is in the log {count} times"


def sent_once_is_logged_once(streams: Streams) -> Iterator[str]:
    """§2: a message is one message, however often it had to be sent under its event_id."""
    counted = Counter(row.n for row in streams.evidence.record.log.rows)
    for n, count in counted.items():
        if count > 1:
            yield f"message {n} is in the log {count} times"


def logged_is_what_was_sent(streams: Streams) -> Iterator[str]:
    """§2: what is in the log is what a publisher has sent, to whom and how it was sent."""
    for row in streams.evidence.record.log.rows:
        send = streams.evidence.sends.get(row.n)
        if send is None or not send.persist:
            yield f"seq {row.seq} is message {row.n}, which nobody has sent to be kept"
        elif _content(row) != (send.to, send.event_type, send.priority, send.event_id or row.event_id):
            yield f"seq {row.seq} is {_content(row)}, and was sent as {send}"


def _content(row: Row) -> tuple[object, ...]:
    return row.to, row.event_type, row.priority, row.event_id


def answered_is_logged(streams: Streams) -> Iterator[str]:
    """§3.1: a persisted message that was answered with success, or given to a reader, is committed. Only its expiry
    takes it away."""
    evidence = streams.evidence
    for message in evidence.messages:
        gone = message.send.n not in evidence.rows and message.seq > evidence.record.log.purged_through
        if gone and message.send.ttl is None:
            yield f"{message} was answered or given, and is not in the log"


def answers_are_true(streams: Streams) -> Iterator[str]:
    """§2: an answer tells the message's own event_id, seq and expiry, whether it is the first or a repeat."""
    for send in streams.evidence.record.sends:
        row = streams.evidence.rows.get(send.n)
        accepted = [a for a in send.attempts if a.accepted]
        for attempt in accepted:
            if attempt.answer is None or not _is_true(send, row, attempt):
                yield f"message {send.n} was answered {attempt.answer}, and is {row or send}"
        identities = {(a.answer["event_id"], a.answer["seq"]) for a in accepted if a.answer is not None}
        if len(identities) > 1:
            yield f"message {send.n} was answered with different identities: {identities}"


def _is_true(send: Send, row: Row | None, attempt: Attempt) -> bool:
    answer = attempt.answer or {}
    if answer.get("persisted") is not send.persist or (send.event_id or answer["event_id"]) != answer["event_id"]:
        return False
    if (answer["expire_at"] is None) is not (send.ttl is None):
        return False
    if not send.persist:
        return answer["seq"] is None
    if row is None:
        return isinstance(answer["seq"], int)
    told = None if answer["expire_at"] is None else datetime.fromisoformat(answer["expire_at"]).timestamp()
    same_expiry = told is None or (row.expire_at is not None and abs(told - row.expire_at) < 1e-3)
    return (answer["event_id"], answer["seq"]) == (row.event_id, row.seq) and same_expiry


def repeats_are_told(streams: Streams) -> Iterator[str]:
    """§2: a new message is answered 201 and a repeat 200; so of one there is at most one 201, and no 200 of one that
    was sent once. Under an event_id of its publisher's a node can't tell its own second try from another's."""
    for send in streams.evidence.record.sends:
        if not send.single:
            continue
        statuses = [attempt.status for attempt in send.attempts if attempt.accepted]
        if statuses.count(201) > 1:
            yield f"message {send.n} was new more than once: {statuses}"
        if send.event_id is None and len(send.attempts) == 1 and statuses == [200]:
            yield f"message {send.n} was sent once, and was taken for a repeat"


def refusals_have_a_reason(streams: Streams) -> Iterator[str]:
    """§7: what is right is refused only by a node that can't do it now."""
    record = streams.evidence.record
    for request in (*record.sends, *record.changes, *record.marks, *record.disconnects):
        for attempt in request.attempts:
            if attempt.status is not None and not attempt.accepted and attempt.status not in OVERLOADED:
                yield f"{type(request).__name__} was answered {attempt.status}: {attempt.answer}; {request}"


def publishers_order_is_kept(streams: Streams) -> Iterator[str]:
    """§3.8: A answered before B is sent implies seq(A) < seq(B)."""
    evidence = streams.evidence
    for message in evidence.messages:
        reached = evidence.seq_by(message.sent_at)
        if reached >= message.seq:
            yield f"{message} was sent when seq {reached} had been answered"


def time_is_the_stores(streams: Streams) -> Iterator[str]:
    """§3.7: whatever a node's own clock says, a message is created when it is sent, and expires its TTL after that."""
    for row in streams.evidence.record.log.rows:
        send = streams.evidence.sends.get(row.n)
        if send is None:
            continue
        if not send.at - CLOCK_SECONDS <= row.created_at <= settled_at(send) + CLOCK_SECONDS:
            yield f"seq {row.seq} was created at {row.created_at:.3f}, and sent at {send.at:.3f}"
        if (row.expire_at is None) is not (send.ttl is None):
            yield f"seq {row.seq} expires at {row.expire_at}, and has a TTL of {send.ttl}"
            continue
        lived = 0.0 if row.expire_at is None else row.expire_at - row.created_at
        if abs(lived - (send.ttl or 0.0)) > CLOCK_SECONDS:
            yield f"seq {row.seq} expires {lived:.3f} s after it was created, and has a TTL of {send.ttl}"


def batches_keep_their_order(streams: Streams) -> Iterator[str]:
    """§2: a batch is taken in its order."""
    batches: dict[int, list[int]] = defaultdict(list)
    for send in streams.evidence.record.sends:
        if send.n in streams.evidence.by_n:
            batches[send.batch].append(streams.evidence.by_n[send.n].seq)
    for number, seqs in batches.items():
        if seqs != sorted(seqs):
            yield f"batch {number} has the seqs {seqs}"


LAWS = (
    seq_is_dense,
    event_id_is_unique,
    sent_once_is_logged_once,
    logged_is_what_was_sent,
    answered_is_logged,
    answers_are_true,
    repeats_are_told,
    refusals_have_a_reason,
    publishers_order_is_kept,
    time_is_the_stores,
    batches_keep_their_order,
)
