"""Messages: what a publisher asks to send (`Draft`) and what the hub sends (`Message`), with SPEC §2's limits.

`data` is the publisher's own JSON text as UTF-8 bytes, checked for being JSON at the edge and never re-encoded after,
so number spelling, key order and escapes come back unchanged.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from hashlib import sha256
from operator import itemgetter
from typing import NamedTuple

from sse_domain.errors import InvalidInput, TooLarge

MAX_DATA_BYTES = 256 * 1024
MAX_TTL_SECONDS = 100 * 366 * 86_400  # a century: keeps expire_at far from the end of the calendar
RESERVED_TYPE_PREFIX = "sse."

# Any Unicode but control characters (Cc), SPEC §2. Lone surrogates are no characters and have no UTF-8 form.
_IDENTIFIER = re.compile("[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}")
_TOKEN = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class Priority(IntEnum):
    """Urgent overtakes high overtakes normal whenever several wait for one stream (SPEC §3.2)."""

    NORMAL = 0
    HIGH = 1
    URGENT = 2


class ReceiverType(StrEnum):
    USER = "user"
    CLIENT = "client"
    GROUP = "group"
    BROADCAST = "broadcast"


class Receiver(NamedTuple):
    """Whom a message is for. `id` is None exactly for a broadcast."""

    type: ReceiverType
    id: str | None = None

    @classmethod
    def user(cls, user_id: str) -> Receiver:
        return cls(ReceiverType.USER, check_identifier("user_id", user_id))

    @classmethod
    def client(cls, client_id: str) -> Receiver:
        return cls(ReceiverType.CLIENT, check_identifier("client_id", client_id))

    @classmethod
    def group(cls, group: str) -> Receiver:
        return cls(ReceiverType.GROUP, check_identifier("group", group))


BROADCAST = Receiver(ReceiverType.BROADCAST)


def check_identifier(field: str, value: str) -> str:
    """A user_id, client_id or group: 1–128 characters, compared byte for byte (SPEC §2).

    Raises InvalidInput.
    """
    if not _IDENTIFIER.fullmatch(value):
        raise InvalidInput(field, "must be 1 to 128 characters, none of them a control character")
    return value


def check_event_type(value: str, field: str = "event_type") -> str:
    """A publisher's event type: 1–64 of `[A-Za-z0-9_.:-]`, not in the reserved `sse.` family. Raises InvalidInput."""
    if not _TOKEN.fullmatch(value):
        raise InvalidInput(field, "must be 1 to 64 characters of A-Z a-z 0-9 _ . : -")
    if value.startswith(RESERVED_TYPE_PREFIX):
        raise InvalidInput(field, f"must not begin with {RESERVED_TYPE_PREFIX!r}: those are the hub's own events")
    return value


def check_instant(field: str, value: datetime | None) -> None:
    """A time from a caller, if there is one, says its offset from UTC. Raises InvalidInput."""
    if value is not None and value.utcoffset() is None:
        raise InvalidInput(field, "must say its offset from UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One message as its publisher asks for it. Valid once constructed.

    `ttl` is in seconds. `event_id` is None when the hub is to choose one; only ids that publishers choose are ever
    looked up for repeats.

    Raises InvalidInput or TooLarge on construction.
    """

    receiver: Receiver
    event_type: str
    data: bytes
    persist: bool = False
    priority: Priority = Priority.NORMAL
    ttl: float | None = None
    event_id: str | None = None

    def __post_init__(self) -> None:
        check_event_type(self.event_type)
        if len(self.data) > MAX_DATA_BYTES:
            raise TooLarge(f"data: must be at most {MAX_DATA_BYTES} bytes of JSON", code="data_too_large")
        if self.ttl is not None and not (0 < self.ttl <= MAX_TTL_SECONDS and math.isfinite(self.ttl)):
            raise InvalidInput("ttl", f"must be more than 0 and at most {MAX_TTL_SECONDS} seconds")
        if self.event_id is not None and not _TOKEN.fullmatch(self.event_id):
            raise InvalidInput("event_id", "must be 1 to 64 characters of A-Z a-z 0-9 _ . : -")


class Message(NamedTuple):
    """A message the hub has accepted. `seq` is its place in the log, or None when ephemeral. Times are aware UTC."""

    event_id: str
    seq: int | None
    event_type: str
    receiver: Receiver
    priority: Priority
    data: bytes
    created_at: datetime
    ttl: float | None = None
    expire_at: datetime | None = None

    def expired(self, now: datetime) -> bool:
        """True from the instant `expire_at` on (SPEC §3.7)."""
        return self.expire_at is not None and self.expire_at <= now


def accept(draft: Draft, *, event_id: str, seq: int | None, now: datetime) -> Message:
    """The message a draft becomes at `now`."""
    expire_at = None if draft.ttl is None else now + timedelta(seconds=draft.ttl)
    return Message(
        event_id,
        seq,
        draft.event_type,
        draft.receiver,
        draft.priority,
        draft.data,
        now,
        draft.ttl,
        expire_at,
    )


def same_content(draft: Draft, message: Message) -> bool:
    """Whether a repeat of an event_id asks for what was already sent (SPEC §2: 200), or for something else (409).

    Data is the same when it is the same JSON but for white space, the order of keys and how characters are escaped. `1`
    and `1.0` differ, and so do `{"a": 1, "a": 2}` and `{"a": 2}`, because what a reader gets would differ.
    """
    return (
        draft.persist == (message.seq is not None)
        and draft.receiver == message.receiver
        and draft.event_type == message.event_type
        and draft.priority == message.priority
        and draft.ttl == message.ttl
        and (draft.data == message.data or _content(draft.data) == _content(message.data))
    )


def fingerprint(draft: Draft) -> bytes:
    """32 bytes that two drafts share exactly when `same_content` would hold between them."""
    known = (draft.persist, *draft.receiver, draft.event_type, int(draft.priority), draft.ttl, _content(draft.data))
    return sha256(repr(known).encode()).digest()


def _content(data: bytes) -> object:
    """What JSON text says: numbers by their spelling, objects as tuples of their members by key, arrays as lists."""
    try:
        return json.loads(data, parse_int=_number, parse_float=_number, object_pairs_hook=_members)
    except RecursionError:  # deeper than this reader goes: only the same bytes are the same
        return data


def _number(spelling: str) -> object:
    return "number", spelling


def _members(pairs: list[tuple[str, object]]) -> object:
    return "object", tuple(sorted(pairs, key=itemgetter(0)))
