"""Where a stream begins: judging its cursor and choosing what it is given first (SPEC §2 Streams, §3.3, §3.5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice

from sse_domain.cursor import Positions, parse_cursor
from sse_domain.errors import InvalidInput
from sse_domain.message import Message, check_identifier, check_instant
from sse_domain.subscription import check_event_types

MAX_STREAM_GROUPS = 50


class ReplayMode(StrEnum):
    """What a stream with neither cursor nor `since` gets first."""

    PENDING = "pending"  # what none of the user's streams has been given
    UNREAD = "unread"  # from the oldest unread message of each priority on
    NONE = "none"  # only what comes from now on


class ResetReason(StrEnum):
    """Why a cursor can't be honoured (`sse.reset`)."""

    UNKNOWN = "unknown"  # not a cursor of ours, or ahead of the log
    OTHER_LOG = "other_log"  # another epoch: the database was replaced or restored
    TOO_OLD = "too_old"  # older than what retention has kept


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """What a reader asks of one stream. Valid once constructed; raises InvalidInput.

    `cursor` is taken as it came: a bad one is answered with `sse.reset`, never with an error.
    """

    client_id: str | None = None
    user_id: str | None = None
    groups: tuple[str, ...] = ()
    event_types: tuple[str, ...] | None = None
    cursor: str | None = None
    since: datetime | None = None
    replay: ReplayMode = ReplayMode.PENDING
    unread: bool = False

    def __post_init__(self) -> None:
        if self.client_id is not None:
            check_identifier("id", self.client_id)
        if self.user_id is not None:
            check_identifier("user_id", self.user_id)
        for group in self.groups:
            check_identifier("group", group)
        if len(set(self.groups)) > MAX_STREAM_GROUPS:
            raise InvalidInput("group", f"at most {MAX_STREAM_GROUPS} groups a stream")
        check_event_types(self.event_types)
        check_instant("since", self.since)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHead:
    """The log's identity and extent.

    `epoch` names the log: made at its creation, changed when it is restored. `seq` is the last committed position.
    `purged_through` is the greatest seq that age-based retention has removed (expiry does not count: an expired
    message is owed to nobody). `memberships` counts the changes of durable memberships: every join and leave raises it,
    in one order with the messages.
    """

    epoch: str
    seq: int
    purged_through: int = 0
    memberships: int = 0


def judge_cursor(text: str, head: LogHead) -> Positions | ResetReason:
    """The positions a presented cursor stands for, or why this log can't resume it exactly (SPEC §3.3, §3.5)."""
    cursor = parse_cursor(text)
    if cursor is None:
        return ResetReason.UNKNOWN
    if cursor.epoch != head.epoch:
        return ResetReason.OTHER_LOG
    if max(cursor.positions) > head.seq:
        return ResetReason.UNKNOWN
    if min(cursor.positions) < head.purged_through:
        return ResetReason.TOO_OLD
    return cursor.positions


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a stream begins. `complete` is False when something between may be missing, and then it has been told."""

    positions: Positions
    groups_after: int
    resumed: bool
    complete: bool
    reset: ResetReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """A read of the log that a stream needs before it can go on.

    `after[p]` is the position to read beyond for priority p, None for a priority that is not to be read. Read up to
    and including `through`, at most `limit` messages and, past the first, at most `max_bytes` of data.
    """

    after: tuple[int | None, int | None, int | None]
    through: int
    limit: int
    max_bytes: int


def page_length(data_bytes: Iterable[int], limit: int, max_bytes: int) -> int:
    """How many messages, whose data has these sizes, go into one page: `limit` at most, and past the first no more than
    make `max_bytes` together. So whatever a reader asks for, an answer has a bounded size (SPEC §3.10)."""
    length = total = 0
    for size in islice(data_bytes, limit):
        total += size
        if length and total > max_bytes:
            break
        length += 1
    return length


@dataclass(frozen=True, slots=True)
class ReplayPage:
    """The answer to a ReadRequest, in delivery order: urgent first, then high, then normal, each by rising seq.

    `complete` is False when the limits cut it short; the cut then lies in the priority of the last message.
    """

    messages: tuple[Message, ...]
    complete: bool
