"""Laws of a stream's frames, and of its ids (SPEC §2 Streams, §3.2–3.5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tests.chaos.laws.evidence import leading_seq
from tests.chaos.laws.streams import Stream, Streams
from tests.chaos.record import Received

CURSOR = re.compile(r"[0-9A-Za-z._-]{1,64}", re.ASCII)
NO_CONTENT = 204
Comparison = Callable[[int, int], bool]


def streams_begin_as_promised(streams: Streams) -> Iterator[str]:
    """§2: `retry:`, then a frame with an id and no data, then `sse.open`, then `sse.reset` if it is to be; then the
    rest. One that is refused is ended at once, by `sse.close`."""
    for stream in streams:
        shown = [_shape(received) for received in stream.connection.frames]
        events = [event for event in shown if event not in ("retry", "id")]
        if events[:1] == ["sse.close"]:
            continue
        expected = ["retry", "id", "sse.open"]
        if shown[:3] != expected[: len(shown)]:
            yield f"{stream} begins with {shown[:4]}"
        if "sse.open" in shown[3:] or "sse.reset" in shown[4:]:
            yield f"{stream} says how it begins in its midst: {shown}"


def _shape(received: Received) -> str:
    if received.has_data:
        return received.event if received.event.startswith("sse.") else "message"
    return "id" if received.id is not None else "retry"


def nothing_follows_the_close(streams: Streams) -> Iterator[str]:
    """§2: `sse.close` is the last frame of a stream that the server ends, and the response is then whole."""
    for stream in streams:
        events = [received.event for received in stream.connection.frames]
        if "sse.close" in events[:-1]:
            yield f"{stream} went on after sse.close: {events[events.index('sse.close') :]}"
        if events[-1:] == ["sse.close"] and stream.connection.end == "silent":
            yield f"{stream} was told of its end, and its response did not end"


def streams_are_answered_200(streams: Streams) -> Iterator[str]:
    """§2, §7: a stream is 200 whatever befalls it, or a browser gives up; 204 for a client that was disconnected."""
    dismissed = {command.client_id for command in streams.evidence.record.disconnects if not command.reconnect}
    for stream in streams:
        status = stream.connection.status
        if status is None or status == 200 or (status == NO_CONTENT and stream.connection.client_id in dismissed):
            continue
        yield f"{stream} was answered {status}"


def streams_are_not_silent(streams: Streams) -> Iterator[str]:
    """§2: a stream that is open gives a sign of life with every heartbeat."""
    for stream in streams:
        connection = stream.connection
        if connection.end == "silent":
            last = connection.frames[-1].at if connection.frames else connection.asked_at
            if streams.evidence.learnt_by(connection.node, last) < connection.until:
                yield f"{stream} gave nothing from {last:.3f} until {connection.until:.3f}"


def control_events_have_no_id(streams: Streams) -> Iterator[str]:
    """§2: events of the hub's own carry no `id:`."""
    for stream in streams:
        for received in stream.connection.frames:
            if received.has_data and received.event.startswith("sse.") and received.id is not None:
                yield f"{stream}: {received.event} has the id {received.id}"


def cursors_are_well_formed(streams: Streams) -> Iterator[str]:
    """§2: an id is at most 64 bytes of `[0-9A-Za-z._-]`."""
    for stream in streams:
        for received in stream.connection.frames:
            if received.id is not None and not CURSOR.fullmatch(received.id):
                yield f"{stream}: the id {received.id!r}"


def ids_begin_with_the_seq(streams: Streams) -> Iterator[str]:
    """§2, §3.9: a persisted message's frame has an id that begins with its seq; an ephemeral one has none."""
    for stream in streams:
        for gift in stream.gifts:
            if gift.received.id is None or leading_seq(gift.received.id) != gift.message.seq:
                yield f"{stream}: {gift.message} came with the id {gift.received.id}"
        for passed in stream.passed:
            if passed.received.id is not None:
                yield f"{stream}: ephemeral message {passed.send.n} came with the id {passed.received.id}"


def ids_tell_states_apart(streams: Streams) -> Iterator[str]:
    """§3.3: an id says exactly what a stream was given, so it changes with each persisted message."""
    for stream in streams:
        given: set[int] = set()
        counts: dict[str, int] = {}
        for received in stream.connection.frames:
            if received.is_message and received.id is not None:
                given.add(received.n)
            if received.id is not None and counts.setdefault(received.id, len(given)) != len(given):
                yield f"{stream}: {received.id} stood for {counts[received.id]} messages, and for {len(given)}"


def frames_carry_what_was_sent(streams: Streams) -> Iterator[str]:
    """§2: an application event has the type and the data that its publisher gave it."""
    for stream in streams:
        for received in stream.connection.frames:
            if not received.is_message:
                continue
            send = streams.evidence.sends.get(received.n)
            if send is None or (received.event, received.data) != (send.event_type, send.data):
                yield f"{stream} was given {received.event} {received.data}, and sent was {send}"


def no_duplicate_on_a_connection(streams: Streams) -> Iterator[str]:
    """§3.4: no message comes twice on one connection."""
    for stream in streams:
        seen: set[int] = set()
        for gift in stream.gifts:
            if gift.message.seq in seen:
                yield f"{stream} was given {gift.message} twice"
            seen.add(gift.message.seq)


def no_duplicate_across_a_resume(streams: Streams) -> Iterator[str]:
    """§3.3, §3.4: what had been given up to the presented cursor does not come again."""
    for stream in streams:
        for gift in stream.gifts:
            if gift.message.seq in stream.before:
                cursor = stream.connection.cursor
                yield f"{stream}, resumed from {cursor}, was given {gift.message}, which it had been given before"


def seq_rises_within_a_priority(streams: Streams) -> Iterator[str]:
    """§3.2: within one stream and one priority, seq strictly rises."""
    for stream in streams:
        for later, earlier in _out_of_place(stream, lambda one, other: one == other):
            yield f"{stream} was given message {earlier} after {later}"


def higher_priorities_go_first(streams: Streams) -> Iterator[str]:
    """§3.2: of what waits the most urgent goes first. A node applies the log in order, so when it gives a message, all
    of a lower seq and a higher priority have been waiting."""
    for stream in streams:
        for later, earlier in _out_of_place(stream, lambda one, other: one < other):
            yield f"{stream} was given message {earlier}, of a higher priority, after {later}"


def _out_of_place(stream: Stream, concerns: Comparison) -> Iterator[tuple[int, int]]:
    """Seqs that came after greater ones of the priorities that concern theirs."""
    furthest = [0, 0, 0]
    seen: set[int] = set()
    for gift in stream.gifts:
        seq, priority = gift.message.seq, gift.message.priority
        if seq not in seen:  # else it is a duplicate, which is another matter
            later = max((furthest[other] for other in range(3) if concerns(other, priority)), default=0)
            if later > seq:
                yield later, seq
        seen.add(seq)
        furthest[priority] = max(furthest[priority], seq)


def resets_are_told(streams: Streams) -> Iterator[str]:
    """§3.5: a stream that does not resume from its cursor says so by `sse.reset`, first of all; and none that does."""
    for stream in streams:
        if stream.opened is None:
            continue
        resumed, complete = stream.opened.get("resumed"), stream.opened.get("complete")
        cut_short = stream.connection.frames[-1].event == "sse.open"  # before one could come
        if stream.connection.cursor is None:
            if resumed or stream.reset is not None:
                yield f"{stream} had no cursor, and was told resumed={resumed}, reset={stream.reset}"
        else:
            expected = (True, True) if stream.reset is None else (False, False)
            if (resumed, complete) != expected and not (cut_short and (resumed, complete) == (False, False)):
                yield f"{stream} was told resumed={resumed}, complete={complete}, reset={stream.reset}"


def good_cursors_are_honoured(streams: Streams) -> Iterator[str]:
    """§3.3: the id of any frame resumes, as long as what came after it is kept."""
    purged_through = streams.evidence.record.log.purged_through
    for stream in streams:
        connection, lost = stream.connection, stream.reset == "too_old" and purged_through > 0
        if connection.resumed_from is not None and stream.reset is not None and not lost:
            yield f"{stream} presented {connection.cursor}, which it had been given, and was reset: {stream.reset}"


LAWS = (
    streams_begin_as_promised,
    nothing_follows_the_close,
    streams_are_answered_200,
    streams_are_not_silent,
    control_events_have_no_id,
    cursors_are_well_formed,
    ids_begin_with_the_seq,
    ids_tell_states_apart,
    frames_carry_what_was_sent,
    no_duplicate_on_a_connection,
    no_duplicate_across_a_resume,
    seq_rises_within_a_priority,
    higher_priorities_go_first,
    resets_are_told,
    good_cursors_are_honoured,
)
