"""Asking together what is asked at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from sse_app.gathering import QUIET_TURNS, Gathering


class Oracle:
    """Answers when it is let, each question by its square; keeps what it was asked together."""

    def __init__(self, most: int = 100) -> None:
        self.asked: list[list[int]] = []
        self.gathering = Gathering(self._ask, most)
        self._answers = asyncio.Semaphore(0)
        self._fails = False

    async def _ask(self, questions: Sequence[int]) -> list[int]:
        self.asked.append(list(questions))
        await self._answers.acquire()
        if self._fails:
            self._fails = False
            raise ValueError("no answer")
        return [question * question for question in questions]

    async def put(self, *questions: int) -> list[asyncio.Task[int]]:
        tasks = [asyncio.create_task(self.gathering.answer(question)) for question in questions]
        await turns()
        return tasks

    async def answer(self, *, fails: bool = False) -> None:
        self._fails = fails
        self._answers.release()
        await turns()


async def turns() -> None:
    for _ in range(2 * QUIET_TURNS + 5):
        await asyncio.sleep(0)


async def test_a_lone_question_is_asked_at_once_and_what_comes_meanwhile_together_after_it() -> None:
    oracle = Oracle()
    first = await oracle.put(2)
    assert oracle.asked == [[2]]
    rest = [*await oracle.put(3, 4), *await oracle.put(5)]
    assert oracle.asked == [[2]]
    await oracle.answer()
    assert oracle.asked == [[2], [3, 4, 5]], "what came while it was asked is asked anew, and not answered with it"
    assert not any(task.done() for task in rest)
    await oracle.answer()
    assert await asyncio.gather(*first, *rest) == [4, 9, 16, 25]


async def test_no_more_than_so_many_are_asked_together() -> None:
    oracle = Oracle(most=2)
    tasks = await oracle.put(1, 2, 3, 4, 5)
    for _ in range(3):
        await oracle.answer()
    assert oracle.asked == [[1, 2], [3, 4], [5]]
    assert await asyncio.gather(*tasks) == [1, 4, 9, 16, 25]


async def test_it_goes_on_after_it_had_nothing_to_ask() -> None:
    oracle = Oracle()
    for question in (1, 2):
        [task] = await oracle.put(question)
        await oracle.answer()
        assert await task == question * question


async def test_who_is_cancelled_does_not_keep_the_others_from_their_answers() -> None:
    oracle = Oracle()
    asked = await oracle.put(1, 2, 3)
    waiting = await oracle.put(4, 5)
    for gone in (asked[1], waiting[0]):
        gone.cancel()
    await oracle.answer()
    await oracle.answer()
    assert oracle.asked == [[1, 2, 3], [5]], "nobody waits for the other any more"
    assert [await task for task in (asked[0], asked[2], waiting[1])] == [1, 9, 25]
    assert asked[1].cancelled()
    assert waiting[0].cancelled()


async def test_when_all_are_gone_nothing_is_asked() -> None:
    oracle = Oracle()
    [first] = await oracle.put(1)
    [gone] = await oracle.put(2)
    gone.cancel()
    await oracle.answer()
    assert await first == 1
    assert oracle.asked == [[1]]


async def test_a_failure_reaches_whoever_was_asked_for_and_nobody_after() -> None:
    oracle = Oracle()
    asked = await oracle.put(1, 2)
    [after] = await oracle.put(3)
    await oracle.answer(fails=True)
    for task in asked:
        with pytest.raises(ValueError, match="no answer"):
            await task
    await oracle.answer()
    assert await after == 9


async def test_a_failure_that_nobody_waits_for_any_more_is_no_error_of_the_loop() -> None:
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    oracle = Oracle()
    [task] = await oracle.put(1)
    oracle._fails = True
    oracle._answers.release()
    while oracle.gathering._asking is not None:  # the failure is there, but has not reached the task
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    del task
    await turns()
    assert not failed
