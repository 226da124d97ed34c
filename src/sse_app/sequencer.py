"""The sequencer: gathers persisted messages into group commits (SPEC §1 seq, §3.8).

One writer task. While a commit runs, the submissions that arrive queue up and become the next transaction together, so
a lone send is committed at once and a storm is committed in large batches, with no timer between. Seq is assigned by
the log inside the transaction; answers are given only after the commit, and after the feed has applied it.

When the database does not answer, the commit may have been carried out all the same. Appending the same once more
settles that: what is found to be there already is this very commit, and its senders need not know.

Senders are not kept waiting for as long as that may take, with what else has the feed's turn: once nothing has been
committed for the time in which a database is to answer, they are told so.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from sse_app.clock import Clock
from sse_app.feed import Feed
from sse_app.gathering import until_quiet
from sse_domain.errors import Overloaded, ShuttingDown, SseError, StoreUnavailable, Unavailable
from sse_domain.log import Appended, Commit, Entry, Outcome
from sse_domain.message import Message
from sse_domain.ports import MessageLog
from sse_domain.replay import LogHead

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
    since: float  # by the monotonic clock
    answer: asyncio.Future[list[Sequenced]]


class Sequencer:
    def __init__(self, message_log: MessageLog, feed: Feed, clock: Clock, *, patience_seconds: float) -> None:
        self.backlog = 0  # entries waiting to be committed
        self.stopped = False
        self._backlog_bytes = 0
        self._log = message_log
        self._feed = feed
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._queue: deque[_Submission] = deque()
        self._committing: list[_Submission] = []
        self._committed_at = clock.monotonic()
        self._impatience: asyncio.TimerHandle | None = None  # one for all: it would cost each more than its answer
        self._writer: asyncio.Task[None] | None = None

    async def submit(self, entries: Sequence[Entry]) -> list[Sequenced]:
        """Commit these in order, in one transaction; answered when they are committed and applied.

        Raises StoreUnavailable (whether they are committed, or will be, is then unknown), Overloaded or ShuttingDown
        (they are not). A caller that is cancelled does not undo its submission.
        """
        if self.stopped:
            raise ShuttingDown("this node is shutting down")
        size = sum(len(entry.draft.data) for entry in entries)
        full = self.backlog + len(entries) > MAX_BACKLOG or self._backlog_bytes + size > MAX_BACKLOG_BYTES
        if self.backlog and full:
            raise Overloaded("too many messages are waiting to be committed")
        loop = asyncio.get_running_loop()
        submission = _Submission(entries, size, self._clock.monotonic(), loop.create_future())
        self._queue.append(submission)
        self.backlog += len(entries)
        self._backlog_bytes += size
        if self._writer is None:
            self._writer = loop.create_task(self._write())
        if self._impatience is None:
            self._impatience = loop.call_later(self._patience_seconds, self._give_up)
        return await submission.answer

    async def stop(self) -> None:
        """Refuse new submissions and finish the ones taken."""
        self.stopped = True
        if self._writer is not None:
            await self._writer
        if self._impatience is not None:
            self._impatience.cancel()

    def _give_up(self) -> None:
        """Tell those who have waited too long without any commit; look again when the next of them will have."""
        self._impatience = None
        now = self._clock.monotonic()
        for submission in (*self._committing, *self._queue):
            if submission.answer.done():
                continue
            patience = max(submission.since, self._committed_at) + self._patience_seconds - now
            if patience > 0:
                self._impatience = asyncio.get_running_loop().call_later(patience, self._give_up)
                return
            submission.answer.set_exception(StoreUnavailable("the database has not committed anything for too long"))

    async def _write(self) -> None:
        try:
            while self._queue:
                await until_quiet(lambda: self.backlog, COMMIT_ENTRIES)  # a burst makes one commit, and one run
                size = 0
                while self._queue and size < COMMIT_ENTRIES:
                    self._committing.append(self._queue.popleft())
                    size += len(self._committing[-1].entries)
                await self._commit(self._committing)
                self.backlog -= size
                self._backlog_bytes -= sum(submission.data_bytes for submission in self._committing)
                self._committing = []
        finally:
            self._writer = None
            for submission in self._committing:  # none, unless something has broken this off
                submission.answer.cancel()
            self._committing = []

    async def _commit(self, submissions: list[_Submission]) -> None:
        entries = [entry for submission in submissions for entry in submission.entries]
        try:
            async with self._feed.turn:
                appended, head = await self._append(entries)
                handed = await self._apply(head, [a.message for a in appended if a.outcome is Outcome.NEW])
        except Exception as error:
            # One bad commit must not stop the writer; its senders learn of it, the next ones are tried afresh.
            if not isinstance(error, Unavailable):
                log.exception("a commit failed")
            failure = error if isinstance(error, SseError) else SseError("the message could not be stored")
            for submission in submissions:
                if not submission.answer.done():
                    submission.answer.set_exception(failure)
            return
        self._committed_at = self._clock.monotonic()
        results = (_result(entry, fate, handed) for entry, fate in zip(entries, appended, strict=True))
        for submission in submissions:
            answer = list(islice(results, len(submission.entries)))
            if not submission.answer.done():
                submission.answer.set_result(answer)

    async def _append(self, entries: Sequence[Entry]) -> Commit:
        try:
            return await self._log.append(entries, self._clock.now())
        except StoreUnavailable as error:
            log.warning("a commit is tried once more: %s", error.detail)
            return await self._log.append([replace(entry, may_repeat=True) for entry in entries], self._clock.now())

    async def _apply(self, head: LogHead, new: Sequence[Message]) -> Mapping[int, int]:
        """To how many streams each message was handed, by seq. Whatever comes of it, the messages are committed."""
        try:
            return await self._feed.apply(head, new)
        except Unavailable as error:
            log.warning("what was just committed reaches this node's streams later: %s", error.detail)
            return {}


def _result(entry: Entry, appended: Appended, handed: Mapping[int, int]) -> Sequenced:
    outcome, message = appended
    if outcome is Outcome.REPEATED and not entry.may_repeat:
        outcome = Outcome.NEW  # nobody else knows this id: what it repeats is our own first try
    return Sequenced(Appended(outcome, message), handed.get(message.seq or 0, 0) if outcome is Outcome.NEW else 0)
