"""A window of ephemeral messages by the event_id their publisher chose, so that a retry is told from a new message.

Persisted messages have the log for that. Ephemeral ones are kept nowhere, so the promise of SPEC §2 (the same
event_id again: the first answer, no second message) is kept for the newest `WINDOW` of them on this node.
"""

from __future__ import annotations

from collections import OrderedDict

from sse_domain.message import Message

WINDOW = 10_000


class RecentEphemeral:
    def __init__(self) -> None:
        self._messages: OrderedDict[str, Message] = OrderedDict()

    def find(self, event_id: str) -> Message | None:
        return self._messages.get(event_id)

    def add(self, message: Message) -> None:
        self._messages[message.event_id] = message
        if len(self._messages) > WINDOW:
            self._messages.popitem(last=False)
