"""Asking all other nodes for something, over a bus that may lose what is told: again, until each has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from contextlib import suppress
from typing import NamedTuple

from sse_domain.notes import Question
from sse_domain.ports import Bus, Presence

ASKING_SECONDS = 0.25  # before a node that has not answered is asked again


class Answers(NamedTuple):
    """What each node has answered that did, and how many have not, in the end, and are still there."""

    by_node: Mapping[str, int]
    missing: int


class Questions:
    def __init__(self, bus: Bus, presence: Presence) -> None:
        self._bus = bus
        self._presence = presence
        self._asking: dict[str, _Asking] = {}

    async def ask(self, question: Question, *, times: int) -> Answers:
        """Ask the other nodes until all have answered, so many times at most.

        Raises NodesUnavailable when it can't be learnt who is to answer; then too they were asked.
        """
        self._asking[question.question_id] = asking = _Asking()
        try:
            return Answers(asking.answers, await self._until_answered(question, asking, times))
        finally:
            del self._asking[question.question_id]

    async def _until_answered(self, question: Question, asking: _Asking, times: int) -> int:
        self._bus.tell(question)  # first: it is to be done also where it can't be learnt who is to answer
        nodes = await self._others()
        for asked in range(times):
            if asked:
                self._bus.tell(question)
            with suppress(TimeoutError):
                async with asyncio.timeout(ASKING_SECONDS):
                    await asking.answered(nodes)
                return 0
        return len((nodes - asking.answers.keys()) & await self._others())

    async def _others(self) -> Set[str]:
        return {node.node_id for node in await self._presence.nodes()}

    def hear_answer(self, node_id: str, question_id: str, answer: int) -> None:
        """Another node has answered a question, of this node or any other."""
        asking = self._asking.get(question_id)
        if asking is not None:
            asking.answer(node_id, answer)


class _Asking:
    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self._answered = asyncio.Event()

    def answer(self, node_id: str, answer: int) -> None:
        self.answers[node_id] = answer
        self._answered.set()

    async def answered(self, nodes: Set[str]) -> None:
        """Until all of these have answered."""
        while not nodes <= self.answers.keys():
            self._answered.clear()
            await self._answered.wait()
