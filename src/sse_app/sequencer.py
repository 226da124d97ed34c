"""The sequencer: gathers persisted messages into group commits (SPEC §1 seq, §3.8).

One writer task. While a commit runs, the submissions that arrive queue up and become the next transaction together, so
a lone send is committed at once and a storm is committed in large batches, with no timer between. Seq is assigned by
the log inside the transaction; answers are given only after the commit, and after the feed has applied it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from sse_app.clock import Clock
from sse_app.feed import Feed
from sse_domain.errors import Overloaded, ShuttingDown, SseError, Unavailable
from sse_domain.ports import Appended, Entry, MessageLog, Outcome

log = logging.getLogger("sse_hub.sequencer")

COMMIT_ENTRIES = 200  # a transaction stops taking further submissions here
# What waits beyond these is refused: senders must slow down, memory must not grow.
MAX_BACKLOG = 20_000
MAX_BACKLOG_BYTES = 64 * 1024 * 1024


class Sequenced(NamedTuple):
    """An entry's fate in the log, and to how many of this node's streams it was handed."""

    appended: Appended
    connections: int


class _Submission(NamedTuple):
    entries: Sequence[Entry]
    data_bytes: int
    answer: asyncio.Future[list[Sequenced]]


class Sequencer:
    def __init__(self, message_log: MessageLog, feed: Feed, clock: Clock) -> None:
        self.backlog = 0  # entries waiting to be committed
        self._backlog_bytes = 0
        self._log = message_log
        self._feed = feed
        self._clock = clock
        self._queue: deque[_Submission] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._stopped = False

    async def submit(self, entries: Sequence[Entry]) -> list[Sequenced]:
        """Commit these in order, in one transaction; answered when they are committed and applied.

        Raises StoreUnavailable (whether they are committed is then unknown), Overloaded or ShuttingDown (they are not).
        A caller that is cancelled does not undo its submission.
        """
        if self._stopped:
            raise ShuttingDown("this node is shutting down")
        size = sum(len(entry.draft.data) for entry in entries)
        full = self.backlog + len(entries) > MAX_BACKLOG or self._backlog_bytes + size > MAX_BACKLOG_BYTES
        if self.backlog and full:
            raise Overloaded("too many messages are waiting to be committed")
        loop = asyncio.get_running_loop()
        submission = _Submission(entries, size, loop.create_future())
        self._queue.append(submission)
        self.backlog += len(entries)
        self._backlog_bytes += size
        if self._writer is None:
            self._writer = loop.create_task(self._write())
        return await submission.answer

    async def stop(self) -> None:
        """Refuse new submissions and finish the ones taken."""
        self._stopped = True
        if self._writer is not None:
            await self._writer

    async def _write(self) -> None:
        try:
            while self._queue:
                submissions: list[_Submission] = []
                size = 0
                while self._queue and size < COMMIT_ENTRIES:
                    submissions.append(self._queue.popleft())
                    size += len(submissions[-1].entries)
                await self._commit(submissions)
                self.backlog -= size
                self._backlog_bytes -= sum(submission.data_bytes for submission in submissions)
        finally:
            self._writer = None

    async def _commit(self, submissions: list[_Submission]) -> None:
        entries = [entry for submission in submissions for entry in submission.entries]
        try:
            async with self._feed.turn:
                appended, head = await self._log.append(entries, self._clock.now())
                handed = await self._feed.apply(head, [a.message for a in appended if a.outcome is Outcome.NEW])
        except Exception as error:
            # One bad commit must not stop the writer; its senders learn of it, the next ones are tried afresh.
            if not isinstance(error, Unavailable):
                log.exception("a commit failed")
            failure = error if isinstance(error, SseError) else SseError("the message could not be stored")
            for submission in submissions:
                if not submission.answer.done():
                    submission.answer.set_exception(failure)
            return
        results = iter(appended)
        for submission in submissions:
            answer = [
                Sequenced(a, handed.get(a.message.seq or 0, 0) if a.outcome is Outcome.NEW else 0)
                for a in islice(results, len(submission.entries))
            ]
            if not submission.answer.done():
                submission.answer.set_result(answer)
