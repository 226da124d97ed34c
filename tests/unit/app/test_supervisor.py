"""The supervisor's laws, with processes that are none, in virtual time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from sse_app.supervisor import (
    FIRST_PAUSE_SECONDS,
    LIVED_SECONDS,
    LONGEST_PAUSE_SECONDS,
    REPLACED,
    NotServing,
    Supervisor,
    Worker,
    Workers,
)
from tests.support.virtual_time import in_virtual_time

STOP_SECONDS = 20.0
HURRY_SECONDS = 3.0
START_SECONDS = 1.0
DRAIN_SECONDS = 5.0


class FakeWorker(Worker):
    """Serves after START_SECONDS, and ends DRAIN_SECONDS after it was told to, or at once if it does not serve yet."""

    def __init__(self, number: int, pid: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.number = number
        self.pid = pid
        self.serving = self._loop.create_future()
        self.ended = self._loop.create_future()
        self.started_at = self._loop.time()
        self.told: list[tuple[float, signal.Signals]] = []
        self.stubborn = False  # ends by SIGKILL only

    def serve(self) -> None:
        if not self.serving.done():
            self.serving.set_result("")

    def fail(self, reason: str) -> None:
        self.serving.set_result(reason)
        self.end(1)

    def end(self, status: int) -> None:
        if not self.ended.done():
            if not self.serving.done():
                self.serving.set_result("ended before it served")
            self.ended.set_result(status)

    def send_signal(self, number: signal.Signals) -> None:
        self.told.append((self._loop.time(), number))
        if number is signal.SIGKILL or not (self.serving.done() or self.stubborn):
            self.end(-number)
        elif not self.stubborn:
            self._loop.call_later(DRAIN_SECONDS, self.end, 0)

    def told_since(self, begun: float) -> list[tuple[float, signal.Signals]]:
        return [(round(at - begun, 6), number) for at, number in self.told]

    @property
    def signals(self) -> list[signal.Signals]:
        return [number for _, number in self.told]


class FakeWorkers(Workers):
    """Keeps what was started. Starts fail for the reasons in `failures`, by the worker's number, while they stand."""

    def __init__(self) -> None:
        self.started: list[FakeWorker] = []
        self.failures: dict[int, str] = {}
        self.released: list[int] = []
        self.closed = False

    def start(self, number: int) -> FakeWorker:
        assert not self.closed
        worker = FakeWorker(number, pid=100 + len(self.started))
        self.started.append(worker)
        loop = asyncio.get_running_loop()
        if number in self.failures:
            loop.call_later(START_SECONDS, worker.fail, self.failures[number])
        else:
            loop.call_later(START_SECONDS, worker.serve)
        return worker

    def release(self, number: int) -> None:
        self.released.append(number)

    def close(self) -> None:
        self.closed = True

    def of(self, number: int) -> list[FakeWorker]:
        return [worker for worker in self.started if worker.number == number]

    @property
    def alive(self) -> list[FakeWorker]:
        return [worker for worker in self.started if not worker.ended.done()]


class Supervised:
    """A supervisor of fakes, running."""

    def __init__(self, count: int) -> None:
        self.workers = FakeWorkers()
        self.supervisor = Supervisor(self.workers, count, stop_seconds=STOP_SECONDS, hurry_seconds=HURRY_SECONDS)
        self.run = asyncio.create_task(self.supervisor.run())

    async def until_serving(self) -> None:
        await asyncio.sleep(START_SECONDS + 0.01)
        assert all(worker.serving.done() for worker in self.workers.alive)

    async def stopped(self) -> bool:
        """What the run says in the end, when nothing is left."""
        self.supervisor.stop()
        orderly = await self.run
        assert self.workers.alive == []
        assert self.workers.closed
        return orderly


@asynccontextmanager
async def supervised(count: int) -> AsyncIterator[Supervised]:
    """A supervisor that has just begun; whatever runs at the end of the block is stopped, and must be orderly."""
    world = Supervised(count)
    yield world
    if not world.run.done():
        assert await world.stopped()


def now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_all_are_started_at_once_and_ended_together() -> None:
    async with supervised(3) as world:
        await world.until_serving()
        assert [(worker.number, worker.started_at) for worker in world.workers.started] == [(1, 0), (2, 0), (3, 0)]
        await asyncio.sleep(1000)
        begun = now()
        assert await world.stopped() is True
        assert now() - begun == pytest.approx(DRAIN_SECONDS)
        assert [worker.signals for worker in world.workers.started] == [[signal.SIGTERM]] * 3


@in_virtual_time
async def test_a_worker_that_cannot_start_at_first_ends_the_whole_with_its_reason() -> None:
    async with supervised(3) as world:
        world.workers.failures[2] = "SSE_PORT: must be a whole number"
        with pytest.raises(NotServing, match=r"^SSE_PORT: must be a whole number$"):
            await world.run
        assert len(world.workers.started) == 3
        assert world.workers.alive == []
        assert world.workers.closed


@in_virtual_time
async def test_a_worker_that_dies_at_first_before_it_serves_ends_the_whole_too() -> None:
    async with supervised(2) as world:
        await asyncio.sleep(START_SECONDS / 2)
        world.workers.started[0].end(-signal.SIGKILL)
        with pytest.raises(NotServing, match="ended before it served"):
            await world.run
        assert len(world.workers.started) == 2
        assert world.workers.alive == []


@in_virtual_time
async def test_a_worker_that_dies_is_followed_and_the_others_are_left_alone() -> None:
    async with supervised(3) as world:
        await world.until_serving()
        dead = world.workers.of(2)[0]
        dead.end(-signal.SIGKILL)
        died = now()
        await asyncio.sleep(FIRST_PAUSE_SECONDS / 2)
        assert world.workers.released == [2], "its connections go to the others at once"
        await asyncio.sleep(100)
        [_, follower] = world.workers.of(2)
        assert follower.started_at - died == pytest.approx(FIRST_PAUSE_SECONDS)
        assert world.workers.released == [2]
        assert [len(world.workers.of(number)) for number in (1, 3)] == [1, 1]
        assert [worker.signals for worker in world.workers.started] == [[]] * 4


def pauses(workers: list[FakeWorker], ends: list[float]) -> list[float]:
    """Between each worker's end and the start of its follower."""
    return [round(follower.started_at - end, 6) for end, follower in zip(ends, workers[1:], strict=True)]


@in_virtual_time
async def test_the_pause_grows_while_workers_end_soon_and_is_short_again_after_one_that_lived() -> None:
    async with supervised(2) as world:
        ends = []
        for _ in range(8):
            await asyncio.sleep(START_SECONDS + LONGEST_PAUSE_SECONDS + 0.01)
            world.workers.of(1)[-1].end(1)
            ends.append(now())
        await asyncio.sleep(LONGEST_PAUSE_SECONDS + START_SECONDS + LIVED_SECONDS + 0.01)
        world.workers.of(1)[-1].end(1)
        ends.append(now())
        await asyncio.sleep(START_SECONDS + LONGEST_PAUSE_SECONDS)
        assert pauses(world.workers.of(1), ends) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 0.1]


@in_virtual_time
async def test_the_pause_grows_while_workers_cannot_start() -> None:
    async with supervised(2) as world:
        await world.until_serving()
        world.workers.failures[1] = "the database does not answer"
        world.workers.of(1)[0].end(1)
        ends = [now()]
        await asyncio.sleep(60)
        failed = world.workers.of(1)[1:]
        ends += [worker.started_at + START_SECONDS for worker in failed[:-1]]
        assert pauses(world.workers.of(1), ends)[:8] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
        world.workers.failures.clear()
        await asyncio.sleep(2 * (LONGEST_PAUSE_SECONDS + START_SECONDS))
        assert [worker.number for worker in world.workers.alive] == [2, 1]


@in_virtual_time
async def test_workers_are_replaced_one_after_the_other_and_each_serves_before_the_one_before_it_goes() -> None:
    async with supervised(3) as world:
        await world.until_serving()
        world.supervisor.replace()
        begun = now()
        await asyncio.sleep(100)
        assert [worker.number for worker in world.workers.started] == [1, 2, 3, 1, 2, 3]
        first, successors = world.workers.started[:3], world.workers.started[3:]
        turn = START_SECONDS + DRAIN_SECONDS
        for place, (predecessor, successor) in enumerate(zip(first, successors, strict=True)):
            assert successor.started_at == pytest.approx(begun + place * turn)
            assert predecessor.told_since(begun) == [(place * turn + START_SECONDS, REPLACED)]
            assert successor.told == []
        assert world.workers.alive == successors
        assert world.workers.released == [], "the successor goes on with the socket"
        successors[1].end(-signal.SIGKILL)
        await asyncio.sleep(100)
        assert len(world.workers.of(2)) == 3, "successors are watched too"


@in_virtual_time
async def test_a_successor_that_fails_leaves_all_others_as_they_are() -> None:
    async with supervised(3) as world:
        await world.until_serving()
        world.workers.failures[2] = "SSE_LOG_LEVEL: must be one of debug, info"
        world.supervisor.replace()
        await asyncio.sleep(100)
        assert [worker.number for worker in world.workers.started] == [1, 2, 3, 1, 2]
        assert world.workers.alive == [*world.workers.of(2)[:1], *world.workers.of(3), *world.workers.of(1)[1:]]
        assert world.workers.of(2)[0].signals == []
        world.workers.failures.clear()
        world.workers.of(2)[0].end(-signal.SIGKILL)
        await asyncio.sleep(100)
        assert sorted(worker.number for worker in world.workers.alive) == [1, 2, 3], "who stayed is still watched"
        world.supervisor.replace()
        await asyncio.sleep(100)
        assert len(world.workers.started) == 9, "the next time works"


@in_virtual_time
async def test_a_worker_that_dies_while_its_successor_starts_is_followed_by_that_one_alone() -> None:
    async with supervised(2) as world:
        await world.until_serving()
        world.supervisor.replace()
        await asyncio.sleep(START_SECONDS / 2)
        world.workers.of(1)[0].end(-signal.SIGKILL)
        await asyncio.sleep(100)
        assert [len(world.workers.of(number)) for number in (1, 2)] == [2, 2]
        assert len(world.workers.alive) == 2


@in_virtual_time
async def test_a_worker_that_dies_while_its_successor_fails_is_followed() -> None:
    async with supervised(2) as world:
        await world.until_serving()
        world.workers.failures[1] = "no"
        world.supervisor.replace()
        await asyncio.sleep(START_SECONDS / 2)
        world.workers.of(1)[0].end(-signal.SIGKILL)
        await asyncio.sleep(START_SECONDS)
        world.workers.failures.clear()
        await asyncio.sleep(100)
        assert sorted(worker.number for worker in world.workers.alive) == [1, 2]


@in_virtual_time
async def test_being_asked_again_while_workers_are_replaced_replaces_them_once_more() -> None:
    async with supervised(2) as world:
        await world.until_serving()
        for _ in range(3):
            world.supervisor.replace()
            await asyncio.sleep(START_SECONDS / 2)
        await asyncio.sleep(100)
        assert [worker.number for worker in world.workers.started] == [1, 2, 1, 2, 1, 2]


@in_virtual_time
async def test_a_worker_that_is_replaced_and_does_not_go_is_killed() -> None:
    async with supervised(2) as world:
        await world.until_serving()
        stubborn = world.workers.of(1)[0]
        stubborn.stubborn = True
        world.supervisor.replace()
        begun = now() + START_SECONDS
        await asyncio.sleep(100)
        assert stubborn.told_since(begun) == [(0, REPLACED), (STOP_SECONDS, signal.SIGKILL)]
        assert [worker.number for worker in world.workers.started] == [1, 2, 1, 2]


@in_virtual_time
async def test_who_does_not_end_in_time_is_killed_and_that_is_said() -> None:
    async with supervised(2) as world:
        await world.until_serving()
        stubborn = world.workers.of(2)[0]
        stubborn.stubborn = True
        begun = now()
        assert await world.stopped() is False
        assert now() - begun == pytest.approx(STOP_SECONDS)
        assert stubborn.signals == [signal.SIGTERM, signal.SIGKILL]
        assert world.workers.of(1)[0].signals == [signal.SIGTERM]


@in_virtual_time
async def test_a_second_interrupt_hurries() -> None:
    async with supervised(2) as world:
        await world.until_serving()
        for worker in world.workers.started:
            worker.stubborn = True
        begun = now()
        world.supervisor.interrupt()
        await asyncio.sleep(1)
        world.supervisor.interrupt()
        assert await world.run is False
        assert now() - begun == pytest.approx(1 + HURRY_SECONDS)
        assert world.workers.started[0].signals == [signal.SIGTERM, signal.SIGINT, signal.SIGKILL]
        world.supervisor.interrupt()  # when all is over


@in_virtual_time
async def test_a_stop_while_a_worker_waits_to_be_started_again_starts_no_more() -> None:
    async with supervised(2) as world:
        await world.until_serving()
        world.workers.of(1)[0].end(1)
        await asyncio.sleep(FIRST_PAUSE_SECONDS / 2)
        assert await world.stopped()
        await asyncio.sleep(100)
        assert len(world.workers.started) == 2


@pytest.mark.parametrize("seconds", [0, START_SECONDS / 2])
def test_a_stop_before_all_serve_is_an_orderly_one(seconds: float) -> None:
    @in_virtual_time
    async def stop() -> None:
        async with supervised(2) as world:
            await asyncio.sleep(seconds)
            assert await world.stopped()
            assert all(worker.ended.result() == -signal.SIGTERM for worker in world.workers.started)

    stop()


@in_virtual_time
async def test_a_stop_while_workers_are_replaced_ends_old_and_new() -> None:
    async with supervised(2) as world:
        await world.until_serving()
        world.supervisor.replace()
        await asyncio.sleep(START_SECONDS + DRAIN_SECONDS + START_SECONDS / 2)
        assert len(world.workers.alive) == 3
        assert await world.stopped()
        await asyncio.sleep(100)
        assert len(world.workers.started) == 4


@in_virtual_time
async def test_nothing_is_left_running_when_the_run_is_cancelled() -> None:
    async with supervised(2) as world:
        await world.until_serving()
        world.run.cancel()
        with suppress(asyncio.CancelledError):
            await world.run
        assert world.workers.alive == []
