"""A run of chaos: its record, its clock, its dice, and how far it has come; what all of its clients share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from random import Random

import httpx

from tests.chaos.record import Attempt, Fault, Record, RecorderClock, Request
from tests.support.http import API_PREFIX, JsonObject

PAUSE_SECONDS = 0.05  # before something is tried again; much less than Retry-After asks for
CLIENT_SECONDS = 60.0  # that a client waits for an answer: longer than any node is paused


class Progress:
    """How many sends were answered, and how many refused or lost: what clients, and those who do harm, wait for."""

    def __init__(self) -> None:
        self.answered = 0
        self.failed = 0
        self.ending = False
        self._more = asyncio.Condition()

    async def count(self, *, answered: int = 0, failed: int = 0) -> None:
        async with self._more:
            self.answered += answered
            self.failed += failed
            self._more.notify_all()

    async def end(self) -> None:
        """No more is to be expected: nobody waits for it any longer."""
        async with self._more:
            self.ending = True
            self._more.notify_all()

    async def more_answered(self, count: int) -> None:
        total = self.answered + count
        async with self._more:
            await self._more.wait_for(lambda: self.answered >= total or self.ending)

    async def more_failed(self, count: int) -> None:
        total = self.failed + count
        async with self._more:
            await self._more.wait_for(lambda: self.failed >= total or self.ending)


class Run:
    """`nodes` are the base URLs that clients choose from, whether anybody listens there or not."""

    def __init__(self, nodes: Sequence[str], seed: int, *, bus: bool = False, one_process: bool = True) -> None:
        self.nodes = list(nodes)
        self.record = Record(seed=seed, bus=bus, one_process=one_process)
        self.clock = RecorderClock()
        self.progress = Progress()
        self._numbers = 0
        self._batches = 0

    def random(self, whose: str) -> Random:
        """Dice of one's own: what one client does takes nothing from what another does."""
        return Random(f"{self.record.seed} {whose}")

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def next_batch(self) -> int:
        self._batches += 1
        return self._batches

    def bus_fault(self, name: str) -> AbstractContextManager[Fault]:
        """Note a fault of the bus for as long as it lasts."""
        return self.fault(name, bus=True)

    @contextmanager
    def fault(self, name: str, nodes: Sequence[str] | None = None, *, bus: bool = False) -> Iterator[Fault]:
        """Note a fault of these nodes, by default of all, for as long as it lasts."""
        fault = Fault(name=name, bus=bus, begun_at=self.clock.now(), nodes=None if nodes is None else list(nodes))
        self.record.faults.append(fault)
        try:
            yield fault
        finally:
            fault.ended_at = self.clock.now()


class Caller:
    """Asks nodes for things, and notes each attempt. Open it with `open_caller`."""

    def __init__(self, run: Run, client: httpx.AsyncClient) -> None:
        self._run = run
        self._client = client

    async def attempt(
        self, requests: Sequence[Request], node: str, path: str, body: JsonObject
    ) -> httpx.Response | None:
        """POST once, for all these requests. None: there was no answer. That nobody listened is no attempt."""
        begun = self._run.clock.now()
        attempts = [Attempt(node=node, at=begun) for _ in requests]
        for request, attempt in zip(requests, attempts, strict=True):
            request.attempts.append(attempt)
        try:
            response = await self._client.post(node + API_PREFIX + path, json=body)
        except httpx.ConnectError:
            for request in requests:
                request.attempts.pop()
            return None
        except httpx.TransportError:
            response = None
        ended = self._run.clock.now()
        for attempt in attempts:
            attempt.ended_at = ended
            if response is not None:
                attempt.status = response.status_code
                attempt.answer = response.json()
        return response

    async def until_accepted(
        self, request: Request, nodes: Random, path: str, body: JsonObject, *, as_long_as_it_lasts: bool = True
    ) -> None:
        """Ask one node after the other until one accepts it, or refuses it for good; however long that lasts, or until
        all comes to an end."""
        while as_long_as_it_lasts or not self._run.progress.ending:
            response = await self.attempt([request], nodes.choice(self._run.nodes), path, body)
            if response is not None and response.status_code < 500:
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def get(self, node: str, path: str, **params: str) -> JsonObject | None:
        """None: there was no answer, or no success."""
        try:
            response = await self._client.get(node + API_PREFIX + path, params=params)
        except httpx.TransportError:
            return None
        answer: JsonObject | None = response.json() if response.is_success else None
        return answer


@asynccontextmanager
async def open_caller(run: Run) -> AsyncIterator[Caller]:
    async with httpx.AsyncClient(timeout=CLIENT_SECONDS, trust_env=False) as client:
        yield Caller(run, client)
