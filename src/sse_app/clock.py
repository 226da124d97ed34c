"""Time, injected. Nothing else in the application reads a clock, so tests move one by hand."""

from __future__ import annotations

import time
from abc import abstractmethod
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    @abstractmethod
    def now(self) -> datetime:
        """The instant, aware UTC: what expiry and created_at are measured by."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds that only rise: what deadlines and uptime are measured by."""


class SystemClock(Clock):
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
