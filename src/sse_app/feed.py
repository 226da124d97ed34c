"""The feed: applies the log to this node's streams, seq after seq, without a hole.

What this node commits arrives through `apply`. Whatever else may have been committed, by another node on the same
database or by a COMMIT whose reply was lost, is noticed as a hole before the next own commit or on a tick, and read
from the log. So a missed hint changes latency, never what is delivered.

Memberships that change on other nodes are in one order with the messages: the log's head counts them. Before messages
are applied, so are all changes that the head they were seen under counts; a stream that doesn't know of its user's join
would pass over what came after it, for good. That a change may be known before messages that precede it does no
harm: a subscription itself says where it begins.

A log that has another name than it had, or ends before what was applied, was replaced or set back under this node.
What its streams stand at means nothing there, so they are ended, and begin again with `sse.reset` (SPEC §3.5). A log
that was set back is given another name first, or cursors from before would seem to fit it once it has grown again.

`turn` is the lock that orders everything which must not overlap with a commit and its application: the sequencer
holds it from append to apply, a catch-up while it reads, and a membership change from its commit until the open
streams know of it, so that no message beyond the join can be applied in between.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sse_app.delivered import DeliveredLedger
from sse_app.hub import Hub
from sse_app.unread import UnreadWatch
from sse_domain.cursor import EPOCH_LENGTH
from sse_domain.errors import StoreUnavailable
from sse_domain.message import Message
from sse_domain.ports import LogIdentity, Membership, MessageLog, Subscriptions
from sse_domain.replay import LogHead

log = logging.getLogger("sse_hub.feed")

RUN_MESSAGES = 64  # what goes out in one write
RUN_BYTES = 128 * 1024  # of data in one write, past its first message: a reader that takes nothing keeps it in memory
RUN_DELIVERIES = 10_000  # before other work gets its turn: about 100 ms of it
READ_LIMIT = 100  # messages at once: of the largest, 25 MiB
READ_CHANGES = 1000  # memberships at once


class Feed:
    def __init__(
        self,
        *,
        message_log: MessageLog,
        identity: LogIdentity,
        subscriptions: Subscriptions,
        hub: Hub,
        unread: UnreadWatch,
        ledger: DeliveredLedger,
        patience_seconds: float,
    ) -> None:
        self.turn = asyncio.Lock()
        self._patience_seconds = patience_seconds
        self._log = message_log
        self._identity = identity
        self._subscriptions = subscriptions
        self._hub = hub
        self._unread = unread
        self._ledger = ledger
        self._memberships = 0  # every change up to this version is known to the hub
        self._set_back = ""  # the name of a log that was set back, and must be given another

    async def start(self) -> None:
        """Stand at the log's end: what came before is replay, for those who ask."""
        self._stand_at(await self._log.head())

    async def apply(self, head: LogHead, messages: Sequence[Message]) -> dict[int, int]:
        """Apply the log up to `head`, as an append left it with these new messages at its end; to how many streams each
        message up to there was handed, by seq.

        Call with `turn` held.
        """
        before = (messages[0].seq or 0) - 1 if messages else head.seq
        if self._replaced(head, before):
            await self._begin_again(head, before)
            return {}
        await self._learn(head.memberships)
        counts = await self._read_up_to(before)
        return counts | await self._publish(messages)

    async def catch_up(self) -> LogHead:
        """Apply what the log has and this node has not; the log's head, up to which that is now the case."""
        flow = self._hub.flow.head
        seq, memberships = flow.seq, self._memberships
        head = await self._log.head()
        # This node's own commits may be applied while it is asked.
        known = seq <= head.seq <= flow.seq and memberships <= head.memberships <= self._memberships
        if known and head.epoch == flow.epoch:
            return head
        async with self.turn:
            head = await self._log.head()
            if self._replaced(head, head.seq):
                return await self._begin_again(head, head.seq)
            await self.apply(head, ())
            return head

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Hold `turn` to change a membership. Raises StoreUnavailable if that takes too long, whoever's turn it is."""
        try:
            async with asyncio.timeout(self._patience_seconds), self.turn:
                yield
        except TimeoutError as error:
            raise StoreUnavailable("the database did not answer in time") from error

    def changed(self, membership: Membership) -> None:
        """Let a membership take effect that was just changed through this node. Call while `changing` it."""
        self._take_effect(membership)
        if membership.version == self._memberships + 1:  # else another node's changes came before: they are to be read
            self._memberships = membership.version

    def _stand_at(self, head: LogHead) -> None:
        self._hub.flow.head.epoch = head.epoch
        self._hub.flow.head.move(head.seq)
        self._memberships = head.memberships

    def _replaced(self, head: LogHead, before: int) -> bool:
        """Whether this is not the log that was applied so far; `before` is where it ended before an append, if any."""
        flow = self._hub.flow.head
        return head.epoch != flow.epoch or before < flow.seq or head.memberships < self._memberships

    async def _begin_again(self, head: LogHead, before: int) -> LogHead:
        """End every stream and stand at the end of the log that there is now; its head.

        Raises StoreUnavailable; this node then stands on no log, and the next that is seen is begun again with.
        """
        flow = self._hub.flow.head
        if flow.epoch:
            log.warning(
                "the log was set back or replaced: it was %s and went up to %d, now it is %s and goes up to %d. All "
                "streams are ended and begin again",
                *(flow.epoch, flow.seq, head.epoch, head.seq),
            )
        if head.epoch == flow.epoch:
            self._set_back = head.epoch
        flow.epoch = ""
        self._hub.end(self._hub.connections, "log_replaced")
        self._hub.forget_users()
        self._ledger.forget()
        if head.epoch == self._set_back:
            await self._identity.rename(head.epoch, secrets.token_hex(EPOCH_LENGTH // 2), before)
        head = await self._log.head()
        self._stand_at(head)
        return head

    async def _learn(self, version: int) -> None:
        """Let every membership change up to this version take effect."""
        while self._memberships < version:
            changes = await self._subscriptions.changed_since(self._memberships, READ_CHANGES)
            for membership in changes:
                self._take_effect(membership)
            reached = changes[-1].version if changes else version
            self._memberships = reached if len(changes) == READ_CHANGES else max(reached, version)

    def _take_effect(self, membership: Membership) -> None:
        if membership.subscription is None:
            self._hub.left(membership.user_id, membership.group)
        else:
            self._hub.joined(membership.subscription)
        self._unread.changed(membership.user_id)

    async def _read_up_to(self, seq: int) -> dict[int, int]:
        head = self._hub.flow.head
        counts: dict[int, int] = {}
        while head.seq < seq:
            messages = [m for m in await self._log.read(head.seq, READ_LIMIT) if (m.seq or 0) <= seq]
            if not messages:
                head.move(seq)  # the rest expired or left retention before it was read
                break
            counts |= await self._publish(messages)
        return counts

    async def _publish(self, messages: Sequence[Message]) -> dict[int, int]:
        self._unread.published(messages)  # first, for what follows may be broken off between its runs
        counts = await publish_in_runs(self._hub, messages)
        return {message.seq or 0: count for message, count in zip(messages, counts, strict=True)}


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
