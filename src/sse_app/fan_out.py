"""Fan-out in runs: what goes out together, and who waits for whom.

A run is published as one step, and brings each stream what it admits of it in one write, the most urgent first. So a
burst to many streams costs a system call per stream, not per message. What one commit or one batch brought makes runs
by itself. An ephemeral message that reaches many streams waits a few turns of the event loop, and whatever else is sent
meanwhile joins it. Among what waits the most urgent goes first, and of one priority all goes in the order in
which it was sent (SPEC §3.9).

Ephemeral messages are passed on to the other nodes, where each is taken at most once: what comes twice, or after what
was sent later, is left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sse_app.gathering import until_quiet
from sse_app.hub import Hub
from sse_domain.delivery import HIGHEST_FIRST
from sse_domain.message import Message, Priority
from sse_domain.notes import Passing
from sse_domain.ports import Bus

log = logging.getLogger("sse_hub.fan_out")

AT_ONCE = 1000  # deliveries that nothing needs to wait for: 10 ms of them
RUN_MESSAGES = 64  # what goes out in one write
RUN_BYTES = 128 * 1024  # of data in one write, past its first message: a reader that takes nothing keeps it in memory
# What other nodes pass on and waits beyond these is dropped: unlike senders here, they can't be made to wait.
MAX_HEARD = 10_000
MAX_HEARD_BYTES = 64 * 1024 * 1024
MAX_NODES = 1000  # of which it is remembered how much they have passed on
RUN_DELIVERIES = 200_000  # before other work gets its turn: about 100 ms of it, besides a write for each stream


class _Run:
    """Messages that go out together: as many as are taken one after the other."""

    __slots__ = ("_data_bytes", "_deliveries", "messages")

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._deliveries = self._data_bytes = 0

    def takes(self, message: Message, reach: int) -> bool:
        """Take it, which may be for so many streams, or tell that the run is full. The first is always taken."""
        self._deliveries += reach
        self._data_bytes += len(message.data)
        if self.messages and (
            len(self.messages) == RUN_MESSAGES or self._deliveries > RUN_DELIVERIES or self._data_bytes > RUN_BYTES
        ):
            return False
        self.messages.append(message)
        return True


def runs(messages: Sequence[Message], reaches: Iterable[int]) -> Iterable[Sequence[Message]]:
    """These messages, in order, in runs, none of which is empty. `reaches`: how many streams each may be for."""
    return [messages] if len(messages) == 1 else _divided(messages, reaches)


def _divided(messages: Sequence[Message], reaches: Iterable[int]) -> Iterator[Sequence[Message]]:
    run = _Run()
    for message, reach in zip(messages, reaches, strict=True):
        if not run.takes(message, reach):
            yield run.messages
            run = _Run()
            run.takes(message, reach)
    if run.messages:
        yield run.messages


class _Sending:
    """Messages of one sender: to how many streams each was handed, and the answer once all of them were."""

    __slots__ = ("_counts", "_uncounted", "answer")

    def __init__(self, messages: int) -> None:
        self._counts = [0] * messages
        self._uncounted = messages
        self.answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    def count(self, place: int, connections: int) -> None:
        self._counts[place] = connections
        self._uncounted -= 1
        if not self._uncounted and not self.answer.done():
            self.answer.set_result(self._counts)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class _Waiting(NamedTuple):
    message: Message
    place: int
    sending: _Sending


class FanOut:
    """Publishes ephemeral messages."""

    def __init__(self, hub: Hub, bus: Bus) -> None:
        self._hub = hub
        self._bus = bus
        self._passed_on = 0
        self._taken: dict[str, int] = {}  # by node: up to which of its messages all were taken or left out
        self._lanes: dict[Priority, deque[_Waiting]] = {priority: deque() for priority in HIGHEST_FIRST}
        self._waiting = self._waiting_bytes = 0
        self._publishing: asyncio.Task[None] | None = None

    async def publish(self, messages: Sequence[Message]) -> list[int]:
        """To how many of this node's streams each was handed. They are handed out whatever becomes of the caller."""
        if not messages:
            return []
        self._bus.tell(Passing(self._hub.flow.head.epoch, self._passed_on, tuple(messages)))
        self._passed_on += len(messages)
        counts = self._publish_at_once(messages)
        return await self._queue(messages).answer if counts is None else counts

    def hear(self, node_id: str, passing: Passing) -> None:
        """Hand out what another node has passed on; where too much waits for that, drop it and count that."""
        taken = self._taken.pop(node_id, 0)
        news = passing.epoch == self._hub.flow.head.epoch and passing.first >= taken
        self._taken[node_id] = passing.first + len(passing.messages) if news else taken
        if len(self._taken) > MAX_NODES:
            del self._taken[next(iter(self._taken))]
        if not news or self._publish_at_once(passing.messages) is not None:
            return
        if self._waiting >= MAX_HEARD or self._waiting_bytes >= MAX_HEARD_BYTES:
            self._hub.flow.budget.dropped += sum(map(self._hub.reach, passing.messages))
        else:
            self._queue(passing.messages).answer.add_done_callback(_log_failure)

    def _publish_at_once(self, messages: Sequence[Message]) -> list[int] | None:
        """To how many streams each was handed; None if that takes too long, or others must go first."""
        if self._publishing is not None:
            return None
        reaches = list(map(self._hub.reach, messages))
        if sum(reaches) > AT_ONCE:
            return None
        counts: list[int] = []
        for run in runs(messages, reaches):
            counts += self._hub.publish(run)
        return counts

    def _queue(self, messages: Sequence[Message]) -> _Sending:
        sending = _Sending(len(messages))
        for place, message in enumerate(messages):
            self._lanes[message.priority].append(_Waiting(message, place, sending))
            self._waiting += 1
            self._waiting_bytes += len(message.data)
        if self._publishing is None:
            self._publishing = asyncio.get_running_loop().create_task(self._publish())
        return sending

    async def _publish(self) -> None:
        try:
            while self._waiting:
                await until_quiet(lambda: self._waiting, RUN_MESSAGES)
                run, waiting = self._next_run()
                try:
                    counts = self._hub.publish(run.messages)
                except Exception as error:
                    for each in waiting:
                        each.sending.fail(error)
                else:
                    for each, count in zip(waiting, counts, strict=True):
                        each.sending.count(each.place, count)
                await asyncio.sleep(0)
        finally:
            self._publishing = None

    def _next_run(self) -> tuple[_Run, list[_Waiting]]:
        run = _Run()
        taken: list[_Waiting] = []
        for lane in self._lanes.values():
            while lane and run.takes(lane[0].message, self._hub.reach(lane[0].message)):
                taken.append(lane.popleft())
            if lane:
                break
        self._waiting -= len(taken)
        self._waiting_bytes -= sum(len(each.message.data) for each in taken)
        return run, taken


def _log_failure(answer: asyncio.Future[list[int]]) -> None:
    if (error := answer.exception()) is not None:
        log.error("what another node has passed on could not be handed out", exc_info=error)
