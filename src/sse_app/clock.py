"""Time, injected. Nothing else in the application reads a clock, so tests move one by hand."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sse_domain.ports import StoreTime

log = logging.getLogger("sse_hub.clock")

NOTICEABLE = timedelta(seconds=1)


class Clock(Protocol):
    @abstractmethod
    def now(self) -> datetime:
        """The instant, aware UTC: what expiry and created_at are measured by."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds that only rise: what deadlines and uptime are measured by."""


class SystemClock(Clock):
    """This machine's clock, until it is set; from then on it counts from there, whatever becomes of the machine's."""

    def __init__(self) -> None:
        self._set: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        if self._set is None:
            return self.machine_time()
        instant, since = self._set
        return instant + timedelta(seconds=self.monotonic() - since)

    def monotonic(self) -> float:
        return time.monotonic()

    def machine_time(self) -> datetime:
        return datetime.now(UTC)

    def set(self, instant: datetime, since: float) -> None:
        """It was `instant` when `monotonic` was `since`."""
        self._set = instant, since


class StoreClock:
    """Keeps a node's clock at the time of the store, which all nodes share, however wrong a machine's own may be."""

    def __init__(self, store_time: StoreTime, clock: SystemClock) -> None:
        self._store_time = store_time
        self._clock = clock
        self._told = False

    async def adjust(self) -> None:
        """Ask the store what time it is. Raises StoreUnavailable; the clock then goes on as it does."""
        asked = self._clock.monotonic()
        instant = await self._store_time.now()
        if instant is None:
            return
        answered = self._clock.monotonic()
        # It was that time at some moment in between. Only a clock that is surely wrong is set: it should not tremble.
        uncertain = timedelta(seconds=(answered - asked) / 2)
        middle = (asked + answered) / 2
        if abs(self._clock.now() - timedelta(seconds=answered - middle) - instant) > uncertain:
            self._clock.set(instant, middle)
        wrong = self._clock.machine_time() - self._clock.now()
        if abs(wrong) > NOTICEABLE and not self._told:
            log.warning("this machine's clock is %+.1f s from the database's, which is used", wrong.total_seconds())
        self._told = abs(wrong) > NOTICEABLE
