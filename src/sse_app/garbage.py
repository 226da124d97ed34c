"""Collecting garbage in small steps: looking at every object of ten thousand streams at once takes 100 ms and more.

Whatever has lived until a step is put beyond the collector's sight (`gc.freeze`), so a step looks only at what is new.
That does no harm as long as nothing becomes cyclic garbage after it was put there: a stream and a request are made so
that they end without the collector. Should something do so nevertheless, it is noticed by how much there is, and then
everything is looked at once.
"""

from __future__ import annotations

import asyncio
import gc

STEP_SECONDS = 0.25  # in which 1,000 streams may be opened: some 20,000 objects, looked at in some milliseconds
SLACK = 500_000  # objects by which twice the known number may be exceeded: those of 30,000 streams


class StepwiseCollector:
    """`slack` is by how many objects twice the known number may be exceeded before everything is looked at."""

    def __init__(self, slack: int = SLACK) -> None:
        self._slack = slack
        self._frozen = 0  # put beyond sight, whether they are still there or not
        self._limit = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self.step()
            await asyncio.sleep(STEP_SECONDS)

    def step(self) -> None:
        """Collect what is garbage among what is new; of everything if there is suspiciously much."""
        gc.collect()
        self._frozen += len(gc.get_objects(generation=2))
        gc.freeze()
        if self._frozen > self._limit:
            self._frozen = gc.get_freeze_count()  # so many really are
        if self._frozen > self._limit:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self._frozen = gc.get_freeze_count()
            self._limit = 2 * self._frozen + self._slack
