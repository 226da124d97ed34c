"""What all streams of a node share: where its feed stands, the log that those read who are behind, and bounds."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sse_app.clock import Clock
from sse_domain.api import FrameWriter
from sse_domain.bounds import Budget
from sse_domain.cursor import encode_cursor, encode_level
from sse_domain.delivery import Given, run_at_once
from sse_domain.errors import Unavailable
from sse_domain.message import Message
from sse_domain.ports import MessageLog
from sse_domain.replay import ReadRequest

if TYPE_CHECKING:
    from sse_app.connection import Connection

log = logging.getLogger("sse_hub.streams")


class FeedHead:
    """Where this node's feed stands: shared by all streams, moved by the hub alone."""

    __slots__ = ("epoch", "level_cursor", "seq")

    def __init__(self) -> None:
        self.epoch = ""
        self.seq = 0
        self.level_cursor = ""

    def move(self, seq: int) -> None:
        self.seq = seq
        self.level_cursor = encode_level(seq, self.epoch)


class SharedRun(NamedTuple):
    """Messages that several streams are handed at once. `batch` is what a level one is to write; `newest` has the last
    persisted message of each priority in it."""

    messages: Sequence[Message]
    batch: Sequence[tuple[Message, str | None]]
    newest: Sequence[Message]


class _Read(NamedTuple):
    """A read of the log, and for whom: by what tells their audience from others."""

    audience_key: Hashable
    request: ReadRequest


class StreamFlow:
    """What all streams share: the head, the log, a bound on concurrent reads of it, a budget, and counters."""

    def __init__(self, message_log: MessageLog, clock: Clock, budget: Budget, concurrent_reads: int) -> None:
        self.head = FeedHead()
        self.budget = budget
        self.clock = clock
        self.delivered = 0
        self.replayed = 0
        self._log = message_log
        self._concurrent_reads = concurrent_reads
        # Every open stream is in one of these. To those of the first, by the kind of their writer, any message may be
        # written at once, if it is for all; the others have a filter, or are behind, or their writer is blocked.
        self.ready: defaultdict[type[FrameWriter], dict[FrameWriter, Connection]] = defaultdict(dict)
        self.others: dict[Connection, None] = {}
        self.waiting_reads = 0  # streams that wait for the log
        self._to_read: dict[_Read, list[Connection]] = {}  # the longest waiting first
        self.readers: set[asyncio.Task[None]] = set()

    def shared_run(self, messages: Sequence[Message]) -> SharedRun:
        """A run of messages, the newest that the feed has applied, made ready for all streams that admit just these."""
        if len(messages) == 1:  # as most runs are
            [message] = messages
            cursor = self.cursor(Given(message, None))
            return SharedRun(messages, [(message, cursor)], messages if cursor else ())
        given = run_at_once(messages, self.head.seq)
        newest = {item.message.priority: item.message for item in given if item.message.seq is not None}
        return SharedRun(messages, [(item.message, self.cursor(item)) for item in given], tuple(newest.values()))

    def give_to_ready(self, run: SharedRun) -> int:
        """Write messages for all to every stream that is ready; how many these were. With nothing but the writers
        looked at, for thousands of streams are more than a processor keeps at hand.
        """
        streams = 0
        for kind, ready in self.ready.items():
            if run.newest:
                for connection in ready.values():
                    for message in run.newest:
                        connection.delivery.gave(message)
            streams += len(ready)
            for writer, error in kind.give_all(tuple(ready), run.batch):
                if error is None:
                    ready[writer].place()
                else:
                    ready[writer].broken(error)
        self.delivered += streams * len(run.batch)
        return streams

    def place(self, connection: Connection, *, ready: bool) -> None:
        """Put an open stream among those that are ready, or among the others."""
        writers = self.ready[type(connection.writer)]
        if ready:
            writers[connection.writer] = connection
            self.others.pop(connection, None)
        else:
            writers.pop(connection.writer, None)
            self.others[connection] = None

    def forget(self, connection: Connection) -> None:
        """A stream has ended."""
        self.ready[type(connection.writer)].pop(connection.writer, None)
        self.others.pop(connection, None)

    def cursor(self, given: Given) -> str | None:
        """The cursor of a message's frame; None for an ephemeral one."""
        seq = given.message.seq
        if seq is None:
            return None
        if given.positions is None:
            return encode_level(seq, self.head.epoch)
        return encode_cursor(seq, self.head.epoch, given.positions)

    def start_read(self, connection: Connection, request: ReadRequest) -> None:
        """Read the log for a stream that is behind, when its turn comes, and pump it then.

        Streams of one audience that wait for the same read share it: many come back at the same place when a node or
        a network has failed.
        """
        self._to_read.setdefault(_Read(connection.audience_key(), request), []).append(connection)
        self.waiting_reads += 1
        if len(self.readers) < self._concurrent_reads:
            reader = asyncio.get_running_loop().create_task(self._read_for_all())
            self.readers.add(reader)

    async def _read_for_all(self) -> None:
        reader = asyncio.current_task()
        assert reader is not None
        try:
            while self._to_read:
                read = next(iter(self._to_read))
                connections = self._to_read.pop(read)
                self.waiting_reads -= len(connections)
                connections = [connection for connection in connections if not connection.closed]
                if connections:
                    await self._read(connections, read.request)
        finally:  # at once, and not by a callback: whoever asks for a read just then must not count on this reader
            self.readers.discard(reader)

    async def _read(self, connections: Sequence[Connection], request: ReadRequest) -> None:
        try:
            page = await self._log.replay(connections[0].delivery.audience, request, self.clock.now())
        except Exception as error:
            # The streams stay open and stay behind: the next sweep asks again.
            for connection in connections:
                connection.delivery.read_failed()
            if isinstance(error, Unavailable):
                log.warning("a stream waits for the log: %s", error.detail)
            else:
                log.exception("reading the log for a stream failed")
            return
        for number, connection in enumerate(connections):
            if number:
                await asyncio.sleep(0)  # so that other work gets its turn
            if connection.closed:
                continue
            self.replayed += len(page.messages)
            try:
                connection.delivery.page(page)
                connection.pump()
            except Exception as error:
                connection.broken(error)

    async def stop(self) -> None:
        """End running reads; their streams are closed, so nothing would come of them."""
        for reader in self.readers:
            reader.cancel()
        await asyncio.gather(*self.readers, return_exceptions=True)
