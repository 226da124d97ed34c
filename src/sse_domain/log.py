"""What goes into the log of persisted messages, and what becomes of it (SPEC §1 seq, §2 Sending)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from sse_domain.message import Draft, Message
from sse_domain.replay import LogHead


@dataclass(frozen=True, slots=True)
class Entry:
    """A draft on its way into the log. `may_repeat`: its event_id may be in the log already and must be looked up."""

    draft: Draft
    event_id: str
    may_repeat: bool


class Outcome(Enum):
    NEW = "new"
    REPEATED = "repeated"  # the same content was sent before under this event_id
    CONFLICT = "conflict"  # other content was sent before under this event_id


class Appended(NamedTuple):
    """What became of an entry. `message` is the one that is in the log under its event_id."""

    outcome: Outcome
    message: Message


class Commit(NamedTuple):
    """What became of each entry of a batch, in order; and the log's head as the batch left it: its last new message is
    the log's last, and `head.memberships` are all the membership changes that came before it."""

    appended: list[Appended]
    head: LogHead
