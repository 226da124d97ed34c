"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# With microseconds that a store can't drop unnoticed.
FIRST_INSTANT = datetime(2026, 3, 4, 5, 6, 7, 890_123, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class ManualClock:
    """Call it for the time (aware UTC); `advance` moves it, also back."""

    def __init__(self, now: datetime = FIRST_INSTANT) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, *, seconds: float = 0, microseconds: int = 0) -> datetime:
        """Move by this much, to the microsecond; the time after."""
        self.now += timedelta(seconds=seconds, microseconds=microseconds)
        return self.now
