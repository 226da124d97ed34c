"""The feed: applies the log to this node's streams, seq after seq, without a hole.

What this node commits arrives through `apply`. Whatever else may have been committed, by another process on the same
database or by a COMMIT whose reply was lost, is noticed as a hole before the next own commit or on a tick, and read
from the log. So a missed hint changes latency, never what is delivered.

`turn` is the lock that orders everything which must not overlap with a commit and its application: the sequencer
holds it from append to apply, a catch-up while it reads, and a membership change from its commit until the open
streams know of it, so that no message beyond the join can be applied in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sse_app.hub import Hub
from sse_app.unread import UnreadWatch
from sse_domain.message import Message
from sse_domain.ports import MessageLog

RUN_MESSAGES = 64  # what goes out in one write
RUN_BYTES = 128 * 1024  # of data in one write, past its first message: a reader that takes nothing keeps it in memory
RUN_DELIVERIES = 10_000  # before other work gets its turn: about 100 ms of it
READ_LIMIT = 100  # messages at once: of the largest, 25 MiB


class Feed:
    def __init__(self, message_log: MessageLog, hub: Hub, unread: UnreadWatch) -> None:
        self.turn = asyncio.Lock()
        self._log = message_log
        self._hub = hub
        self._unread = unread

    async def start(self) -> None:
        """Stand at the log's end: what came before is replay, for those who ask."""
        head = await self._log.head()
        self._hub.flow.head.epoch = head.epoch
        self._hub.flow.head.move(head.seq)

    async def apply(self, messages: Sequence[Message]) -> dict[int, int]:
        """Apply messages just committed, by rising seq; to how many streams each was handed, by seq.

        Call with `turn` held.
        """
        if not messages:
            return {}
        if (messages[0].seq or 0) > self._hub.flow.head.seq + 1:
            await self._read_up_to((messages[0].seq or 0) - 1)
        counts = await self._publish(messages)
        return {message.seq or 0: count for message, count in zip(messages, counts, strict=True)}

    async def catch_up(self) -> None:
        """Apply what the log has beyond this node's head."""
        if (await self._log.head()).seq > self._hub.flow.head.seq:
            async with self.turn:
                await self._read_up_to((await self._log.head()).seq)

    async def _read_up_to(self, seq: int) -> None:
        head = self._hub.flow.head
        while head.seq < seq:
            messages = [m for m in await self._log.read(head.seq, READ_LIMIT) if (m.seq or 0) <= seq]
            if not messages:
                head.move(seq)  # the rest expired or left retention before it was read
                return
            await self._publish(messages)

    async def _publish(self, messages: Sequence[Message]) -> list[int]:
        self._unread.published(messages)  # first, for what follows may be broken off between its runs
        return await publish_in_runs(self._hub, messages)


async def publish_in_runs(hub: Hub, messages: Sequence[Message]) -> list[int]:
    """Publish in order, in runs short enough that the event loop gets its turn; to how many streams each was handed."""
    counts: list[int] = []
    run: list[Message] = []
    deliveries = size = 0
    for message in messages:
        reach = hub.reach(message)
        deliveries += reach
        size += len(message.data)
        if run and (len(run) == RUN_MESSAGES or deliveries > RUN_DELIVERIES or size > RUN_BYTES):
            counts += hub.publish(run)
            await asyncio.sleep(0)
            run, deliveries, size = [], reach, len(message.data)
        run.append(message)
    return counts + hub.publish(run)
