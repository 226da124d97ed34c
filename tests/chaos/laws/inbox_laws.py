"""Laws of the inbox: counts, read marks, listings, places of joins (SPEC §2 Messages, §4)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from typing import NamedTuple

from tests.chaos.laws.evidence import Message, settled_at
from tests.chaos.laws.streams import Streams
from tests.chaos.record import FOREVER, Mark, MembershipChange
from tests.support.http import JsonObject

PRIORITIES = ("normal", "high", "urgent")
READ = 2
TELL_SECONDS = 2.0  # within which a stream is told of counts that have changed


class Unread(NamedTuple):
    """What of a user's messages surely was unread at some moment, and what may have been."""

    least: list[Message]
    most: list[Message]


class Moment(NamedTuple):
    """Some moment between those two; and, if it is that of the answer to a mark, after that one."""

    begun: float
    until: float
    mark: Mark | None = None


def unread(streams: Streams, user_id: str, moment: Moment) -> Unread:
    """By brute force, from all messages of the record."""
    begun, until, mark = moment
    marks = streams.marks
    unread = Unread([], [])
    for entry in streams.inbox(user_id):
        if entry.may_from > until or entry.may_until <= begun:
            continue
        message = entry.message
        if mark is not None and marks.read_at(user_id, message, counting=mark) <= begun:
            continue
        in_group = message.send.to[0] == "group"
        if in_group and not marks.may_be_visible(user_id, message, begun):
            continue
        unread.most.append(message)
        sure = entry.must_from <= begun and until < entry.must_until
        if sure and not (in_group and not marks.is_visible(user_id, message, until)):
            unread.least.append(message)
    for message in streams.evidence.unseen:
        kind, receiver = message.send.to
        gone_by = settled_at(message.send) + (message.send.ttl or 0)
        for_user = kind in ("broadcast", "group") or (kind, receiver) == ("user", user_id)
        if for_user and message.sent_at <= until and begun <= gone_by:
            unread.most.append(message)
    return unread


def wrong_counts(streams: Streams, user_id: str, counts: JsonObject, moment: Moment) -> Iterator[str]:
    """What in these counts can't have been true then."""
    least, most = unread(streams, user_id, moment)
    keys: dict[str, Callable[[Message], str | None]] = {
        "by_priority": lambda message: PRIORITIES[message.priority],
        "by_group": lambda message: message.send.to[1] if message.send.to[0] == "group" else None,
        "by_event_type": lambda message: message.send.event_type,
    }
    if not len(least) <= counts["total"] <= len(most):
        yield f"total {counts['total']} instead of {_range(len(least), len(most))}"
    for name, key in keys.items():
        lower, upper = Counter(map(key, least)), Counter(map(key, most))
        told: Mapping[str, int] = counts[name]
        for value in {*told, *lower} - {None}:
            if not lower[value] <= told.get(value or "", 0) <= upper[value]:
                yield f"{name} {value}: {told.get(value or '', 0)} instead of {_range(lower[value], upper[value])}"


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"


def counts_are_exact(streams: Streams) -> Iterator[str]:
    """§4: the unread count equals a brute-force count at every instant, also at each expiry; whoever tells it: the
    call, the answer to a mark, the opening of a stream."""
    record = streams.evidence.record
    for count in record.counts:
        for wrong in wrong_counts(streams, count.user_id, count.counts, Moment(count.at, count.ended_at)):
            yield f"unread of {count.user_id}, asked of {count.node} at {count.at:.3f}: {wrong}"
    for mark in record.marks:
        accepted = mark.accepted
        if accepted is not None and accepted.answer is not None:
            moment = Moment(accepted.at, mark.answered_at, mark)
            for wrong in wrong_counts(streams, mark.user_id, accepted.answer["unread"], moment):
                yield f"unread of {mark.user_id} after a mark at {accepted.at:.3f}: {wrong}"
    for stream in streams:
        connection = stream.connection
        told = None if stream.opened is None else stream.opened.get("unread")
        if connection.user_id is not None and isinstance(told, dict):
            opened_at = next(received.at for received in connection.frames if received.event == "sse.open")
            for wrong in wrong_counts(streams, connection.user_id, told, Moment(connection.asked_at, opened_at)):
                yield f"{stream}: unread of {connection.user_id} in sse.open: {wrong}"


def counts_are_told(streams: Streams) -> Iterator[str]:
    """§2, §4: a stream with `unread=1` is told the counts after they change, whichever node and device changed them. So
    once all is quiet, what it was told last is true."""
    for stream in streams:
        connection = stream.connection
        if not connection.unread or connection.user_id is None or connection.end != "finished":
            continue
        told = None if stream.opened is None else stream.opened.get("unread")
        for received in connection.frames:
            if received.event == "sse.unread":
                told = received.data
        if not isinstance(told, dict):
            yield f"{stream} was never told its counts"
            continue
        moment = Moment(connection.until - TELL_SECONDS, connection.until)
        for wrong in wrong_counts(streams, connection.user_id, told, moment):
            yield f"{stream} was told last: {wrong}"


def who_does_not_ask_is_not_told(streams: Streams) -> Iterator[str]:
    """§2: only with `?unread=1`."""
    for stream in streams:
        if not stream.connection.unread and any(r.event == "sse.unread" for r in stream.connection.frames):
            yield f"{stream} was told counts, and had not asked for them"


def read_stays_read(streams: Streams) -> Iterator[str]:
    """§4: a mark is never taken back, and never made by itself."""
    for listing in streams.evidence.record.listings:
        for listed in listing.messages:
            message = streams.evidence.by_event_id.get(listed["event_id"])
            if message is None:
                continue  # another law's
            read = listed["status"] == "read"
            if not read and streams.marks.read_at(listing.user_id, message) <= listing.at:
                yield f"{message} was marked as read by {listing.user_id}, and is listed as {listed['status']}"
            if read and not streams.marks.may_be_read(listing.user_id, message, listing.ended_at):
                yield f"{message} is listed as read, and {listing.user_id} has not marked it"


def marks_are_kept(streams: Streams) -> Iterator[str]:
    """§4, §5: the database has the mark of each message that is kept and surely was marked; the row of one that is to
    the user alone says so."""
    record = streams.evidence.record
    read = set(record.log.read)
    kept = {row.seq: row for row in record.log.rows}
    for user_id in {mark.user_id for mark in record.marks}:
        for message in streams.evidence.messages:
            expires = message.send.ttl is not None  # and its mark with it, perhaps while the database was looked at
            if expires or message.seq not in kept or streams.marks.read_at(user_id, message) == FOREVER:
                continue
            if (user_id, message.seq) not in read:
                yield f"the mark of {user_id} on {message} is gone"
            elif message.send.to == ("user", user_id) and kept[message.seq].status != READ:
                yield f"{message} was marked as read by {user_id}, and its row has status {kept[message.seq].status}"


def listings_are_exact(streams: Streams) -> Iterator[str]:
    """§2, §4: what is visible to a user is listed, each message once, by seq, as it was sent; and nothing else."""
    for listing in streams.evidence.record.listings:
        where = f"the messages of {listing.user_id}, asked of {listing.node} at {listing.at:.3f}"
        seqs = [listed["seq"] for listed in listing.messages]
        if seqs != sorted(set(seqs)):
            yield f"{where}: seqs {seqs}"
        listed_seqs = set(seqs)
        for message in streams.evidence.messages:
            may = streams.marks.may_be_visible(listing.user_id, message, listing.at)
            may = may and message.sent_at <= listing.ended_at and not message.is_expired(listing.at)
            must = streams.marks.is_visible(listing.user_id, message, listing.ended_at)
            must = must and message.answered_at <= listing.at and not message.may_be_expired(listing.ended_at)
            if must and message.seq not in listed_seqs:
                yield f"{where}: {message} is missing"
            if not may and message.seq in listed_seqs:
                yield f"{where}: {message} is listed"
        for listed in listing.messages:
            message_by_id = streams.evidence.by_event_id.get(listed["event_id"])
            if message_by_id is None or _content(listed) != _content_sent(message_by_id):
                yield f"{where}: {listed}, which is {message_by_id}"


def _content(listed: JsonObject) -> tuple[object, ...]:
    to = (listed["receiver_type"], listed["receiver_id"] or "")
    return listed["seq"], listed["event_type"], to, listed["priority"], listed["data"]


def _content_sent(message: Message) -> tuple[object, ...]:
    send = message.send
    return message.seq, send.event_type, send.to, send.priority, send.data


def joins_take_their_place(streams: Streams) -> Iterator[str]:
    """§3.6, §4: a standing subscription begins at one place of the log, which is where it was asked for; and who has
    left has none."""
    evidence = streams.evidence
    joined = {(user_id, group): after for user_id, group, after in evidence.record.log.joined}
    changes: dict[tuple[str, str], list[MembershipChange]] = defaultdict(list)
    for change in evidence.record.changes:
        changes[change.user_id, change.group].append(change)
    for pair, theirs in changes.items():
        *before, last = sorted(theirs, key=lambda change: change.at)
        if last.accepted is None or any(settled_at(change) >= last.at for change in before):
            continue  # it is not known what came last
        if last.joins is not (pair in joined):
            yield f"{pair} {'is missing' if last.joins else 'stands'}, and was last asked for: {last}"
        elif last.joins:
            since = list(takewhile(lambda change: change.joins or change.accepted is None, reversed(before)))
            places = [
                (evidence.seq_by(change.at), evidence.seq_from(settled_at(change)))
                for change in (last, *since)
                if change.joins
            ]
            if not any(first <= joined[pair] < beyond for first, beyond in places):
                yield f"{pair} begins after seq {joined[pair]}, and was asked for within {places}"


LAWS = (
    counts_are_exact,
    counts_are_told,
    who_does_not_ask_is_not_told,
    read_stays_read,
    marks_are_kept,
    listings_are_exact,
    joins_take_their_place,
)
