"""Asking together what is asked at the same time.

While one question is being answered, whoever has another waits; then all of these become the next one together, with
those that the event loop brings up in its next few turns. So a lone question is asked at once and a storm is asked in
large ones, with no timer between. An answer is never older than its question: asking for it began after.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

# Of the event loop, in which no question came, before those that came are asked: a request is accepted in one, read in
# the next, and handled in a third.
QUIET_TURNS = 3

Q = TypeVar("Q")
A = TypeVar("A")


async def until_quiet(waiting: Callable[[], int], most: int) -> None:
    """Wait as long as the next turns of the event loop bring more that is `waiting`, up to so many."""
    quiet = 0
    while quiet < QUIET_TURNS and (before := waiting()) < most:
        await asyncio.sleep(0)
        quiet = 0 if waiting() > before else quiet + 1


class _Waiting(NamedTuple, Generic[Q, A]):
    question: Q
    answer: asyncio.Future[A]


class Gathering(Generic[Q, A]):
    """`ask` answers some questions, at most `most` at once, in their order; what it raises, it raises for them all."""

    def __init__(self, ask: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], most: int) -> None:
        self._ask = ask
        self._most = most
        self._queue: deque[_Waiting[Q, A]] = deque()
        self._asking: asyncio.Task[None] | None = None

    async def answer(self, question: Q) -> A:
        """The answer to this question. A caller that is cancelled does not keep others from theirs."""
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Q, A] = _Waiting(question, loop.create_future())
        self._queue.append(waiting)
        if self._asking is None:
            self._asking = loop.create_task(self._ask_in_turn())
        return await waiting.answer

    async def _ask_in_turn(self) -> None:
        try:
            while self._queue:
                await until_quiet(lambda: len(self._queue), self._most)
                some = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
                await self._answer([each for each in some if not each.answer.done()])
        finally:
            self._asking = None

    async def _answer(self, some: Sequence[_Waiting[Q, A]]) -> None:
        if not some:
            return
        try:
            answers = await self._ask([each.question for each in some])
        except Exception as error:
            for each in some:
                if not each.answer.done():
                    each.answer.set_exception(error)
                    each.answer.exception()  # seen, even if whoever asked is cancelled before that arrives
            return
        for each, answer in zip(some, answers, strict=True):
            if not each.answer.done():
                each.answer.set_result(answer)
