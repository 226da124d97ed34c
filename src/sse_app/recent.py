"""A window of ephemeral messages by the event_id their publisher chose, so that a retry is told from a new message.

Persisted messages have the log for that. Ephemeral ones are kept nowhere, so the promise of SPEC §2 (the same
event_id again: the first answer, no second message) is kept for the newest `WINDOW` of them on this node. Of each only
a fingerprint and its answer are remembered, whatever its size.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from sse_domain.api import Receipt

WINDOW = 10_000


class Sent(NamedTuple):
    """`receipt` is the answer to a repeat."""

    fingerprint: bytes
    receipt: Receipt


class RecentEphemeral:
    def __init__(self) -> None:
        self._sent: OrderedDict[str, Sent] = OrderedDict()

    def find(self, event_id: str) -> Sent | None:
        return self._sent.get(event_id)

    def add(self, event_id: str, sent: Sent) -> None:
        self._sent[event_id] = sent
        if len(self._sent) > WINDOW:
            self._sent.popitem(last=False)
