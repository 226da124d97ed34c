"""What the tests of both stream writers have in common."""

from __future__ import annotations

from datetime import UTC, datetime

from sse_domain.api import OpenStream
from sse_domain.message import BROADCAST, Message, Priority

RETRY_MS = 2000
MESSAGE = Message(
    event_id="e1",
    seq=1,
    event_type="t",
    receiver=BROADCAST,
    priority=Priority.NORMAL,
    data=b"1",
    created_at=datetime(2025, 1, 1, tzinfo=UTC),
)


class Stream(OpenStream):
    """What the hub has of a stream: how often it was left, and why the server wanted it ended."""

    def __init__(self) -> None:
        self.left = 0
        self.ended: list[str] = []

    def leave(self) -> None:
        self.left += 1

    def end(self, reason: str, *, reconnect: bool) -> None:
        self.ended.append(reason)
