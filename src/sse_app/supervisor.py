"""Several workers: started, watched, replaced and stopped. Each is a process of its own with one event loop.

The laws:
1. Either all workers have served once, or the first reason why one can't is told and nothing is left running.
2. From then on a worker that ends is followed by another, after a pause that grows while they end soon or can't start.
3. Workers are replaced one after the other: the successor serves before its predecessor is told to end, and that has
   ended before it is the next one's turn. If a successor fails, its predecessor and all others stay as they are.
4. Whoever is told to end and does not within the time that it may take is killed.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from abc import abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

log = logging.getLogger("sse_hub.supervisor")

REPLACED = signal.SIGUSR1  # to a worker: drain, since a successor serves on the same socket

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
LIVED_SECONDS = 10.0  # so long a worker has served whose end does not make the pause grow


class NotServing(Exception):
    """A worker could not be started; the text is one line."""


class Worker(Protocol):
    """A process. Both futures are done in time, and never cancelled."""

    pid: int
    serving: asyncio.Future[str]  # empty from when it serves on; or the reason why it does not
    ended: asyncio.Future[int]  # its exit status, or minus the number of the signal that ended it

    @abstractmethod
    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""


class Workers(Protocol):
    """Starts the processes."""

    @abstractmethod
    def start(self, number: int) -> Worker:
        """Start worker `number`, if one of that number serves beside it and on the same socket. Raises NotServing."""

    @abstractmethod
    def release(self, number: int) -> None:
        """The worker has died: let go of its socket, so that the others are given its connections."""

    @abstractmethod
    def close(self) -> None:
        """Nobody is started any more: let go of all sockets, which are closed when their workers close them."""


class _Place:
    """One of the numbers, and the worker that holds it. Whoever changes it holds its lock meanwhile."""

    def __init__(self, number: int, worker: Worker) -> None:
        self.number = number
        self.worker = worker
        self.lock = asyncio.Lock()
        self.pause = FIRST_PAUSE_SECONDS


class Supervisor:
    """Runs `count` workers. One told to end is killed after `stop_seconds`, in a hurry after `hurry_seconds`."""

    def __init__(self, workers: Workers, count: int, *, stop_seconds: float, hurry_seconds: float) -> None:
        self._workers = workers
        self._count = count
        self._stop_seconds = stop_seconds
        self._hurry_seconds = hurry_seconds
        self._running: dict[Worker, int] = {}  # by number, also those that start or have been told to end
        self._stopping = asyncio.Event()
        self._replacing = asyncio.Event()
        self._patience: asyncio.Timeout | None = None

    async def run(self) -> bool:
        """Until `stop`, and all workers have ended; whether each did by itself. Raises NotServing at the start."""
        working, stopping = asyncio.create_task(self._work()), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            working.cancel()
            stopping.cancel()
            await asyncio.wait({working})
            self._workers.close()
            orderly = await self._end()
        if not working.cancelled():
            working.result()
        log.info("all workers have ended")
        return orderly

    def stop(self) -> None:
        """Have all workers end. May be repeated."""
        self._stopping.set()

    def interrupt(self) -> None:
        """As `stop`; but the second time workers are to end without waiting for their streams."""
        if self._stopping.is_set():
            self._signal(self._running, signal.SIGINT)
            if self._patience is not None:
                soon = asyncio.get_running_loop().time() + self._hurry_seconds
                self._patience.reschedule(min(soon, self._patience.when() or soon))
        self.stop()

    def replace(self) -> None:
        """Replace all workers, one after the other; once more if that is going on."""
        self._replacing.set()

    async def _work(self) -> None:
        numbers = range(1, self._count + 1)
        workers = await asyncio.gather(*(self._begin(number) for number in numbers))
        log.info("all %d workers serve", self._count)
        places = [_Place(number, worker) for number, worker in zip(numbers, workers, strict=True)]
        async with asyncio.TaskGroup() as group:
            for place in places:
                group.create_task(self._keep(place))
            while await self._replacing.wait():
                self._replacing.clear()
                await self._replace(places, group)

    async def _begin(self, number: int) -> Worker:
        """Start a worker and wait until it serves. Raises NotServing, when it has ended."""
        worker = self._workers.start(number)
        self._running[worker] = number
        worker.ended.add_done_callback(lambda _: self._running.pop(worker))
        reason = await asyncio.shield(worker.serving)
        if reason:
            await asyncio.shield(worker.ended)
            raise NotServing(reason)
        log.info("worker %d (pid %d) serves", number, worker.pid)
        return worker

    async def _keep(self, place: _Place) -> None:
        """See to it that the worker is followed by another when it ends; unless it is replaced before."""
        loop = asyncio.get_running_loop()
        worker = place.worker
        while True:
            since = loop.time()
            status = await asyncio.shield(worker.ended)
            async with place.lock:
                if place.worker is not worker:
                    return
                if loop.time() - since >= LIVED_SECONDS:
                    place.pause = FIRST_PAUSE_SECONDS
                log.warning("worker %d (pid %d) ended: %s", place.number, worker.pid, ending(status))
                place.worker = worker = await self._follow(place)

    async def _follow(self, place: _Place) -> Worker:
        """Start workers until one serves."""
        while True:
            self._workers.release(place.number)
            log.info("worker %d is started again in %g s", place.number, place.pause)
            await asyncio.sleep(place.pause)
            place.pause = min(2 * place.pause, LONGEST_PAUSE_SECONDS)
            try:
                return await self._begin(place.number)
            except NotServing as error:
                log.error("worker %d can't be started: %s", place.number, error)

    async def _replace(self, places: Iterable[_Place], group: asyncio.TaskGroup) -> None:
        log.info("replacing the workers, one after the other")
        for place in places:
            async with place.lock:
                predecessor = place.worker
                try:
                    place.worker = await self._begin(place.number)
                except NotServing as error:
                    log.error("worker %d is not replaced, nor are those after it: %s", place.number, error)
                    return
            group.create_task(self._keep(place))
            await self._retire(predecessor)
        log.info("all workers are replaced")

    async def _retire(self, worker: Worker) -> None:
        self._signal([worker], REPLACED)
        done, _ = await asyncio.wait({worker.ended}, timeout=self._stop_seconds)
        if not done:
            self._kill([worker])
            await asyncio.shield(worker.ended)

    async def _end(self) -> bool:
        """End whoever runs; whether nobody had to be killed."""
        self._signal(self._running, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._stop_seconds) as self._patience:
                await self._until_all_ended()
        self._patience = None
        orderly = not self._running
        self._kill(self._running)
        await self._until_all_ended()
        return orderly

    async def _until_all_ended(self) -> None:
        while self._running:
            await asyncio.wait([worker.ended for worker in self._running])

    def _kill(self, workers: Iterable[Worker]) -> None:
        for worker in workers:
            log.error("worker %d (pid %d) does not end, and is killed", self._running[worker], worker.pid)
        self._signal(workers, signal.SIGKILL)

    def _signal(self, workers: Iterable[Worker], number: signal.Signals) -> None:
        for worker in list(workers):
            worker.send_signal(number)


def ending(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
