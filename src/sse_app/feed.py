"""The feed: applies the log to this node's streams, seq after seq, without a hole.

What this node commits arrives through `apply`, which tells the other nodes over the bus. Whatever else may have been
committed, by another node on the same database or by a COMMIT whose reply was lost, is noticed as a hole before the
next own commit or on a tick, and read from the log. Other nodes' hints spare that read and the wait for the tick
(following.py). So a missed hint changes latency, never what is delivered.

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
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sse_app.delivered import DeliveredLedger
from sse_app.fan_out import runs
from sse_app.hints import Hints
from sse_app.hub import Hub
from sse_app.presence import PresenceReporter
from sse_app.unread import UnreadWatch
from sse_domain.cursor import EPOCH_LENGTH
from sse_domain.errors import StoreUnavailable
from sse_domain.message import Message
from sse_domain.notes import Answer, Committed, LearnMemberships
from sse_domain.ports import Bus, LogIdentity, MessageLog, Subscriptions
from sse_domain.replay import LogHead
from sse_domain.subscription import Membership

log = logging.getLogger("sse_hub.feed")

READ_LIMIT = 100  # messages at once: of the largest, 25 MiB
READ_CHANGES = 1000  # memberships at once
MOST_QUESTIONS = 1000  # of other nodes at once, who do not wait for long


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
        presence: PresenceReporter,
        bus: Bus,
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
        self._presence = presence
        self._bus = bus
        self._hints = Hints()
        self._memberships = 0  # every change up to this version is known to the hub
        self._questions: deque[LearnMemberships] = deque(maxlen=MOST_QUESTIONS)
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
        if messages:
            self._bus.tell(Committed(head, tuple(messages)))
        await self._learn(head.memberships)
        counts = await self._read_up_to(before)
        return counts | await self._publish(messages)

    def hint(self, committed: Committed) -> bool:
        """Take what another node says it has committed; whether there is now anything to be applied.

        Then call `apply_hints`, and where that is not enough, `catch_up`.
        """
        flow, told = self._hub.flow.head, committed.head
        if told.epoch != flow.epoch:
            self._hints.foreign = True
            return True
        if told.seq <= flow.seq and told.memberships <= self._memberships:
            return False
        self._hints.seq = max(self._hints.seq, told.seq)
        self._hints.memberships = max(self._hints.memberships, told.memberships)
        self._hints.add([message for message in committed.messages if (message.seq or 0) > flow.seq])
        return True

    def asked(self, question: LearnMemberships) -> bool:
        """Answer another node once the memberships are known that it asks for; whether there is now anything to be
        applied for that, as after `hint`."""
        self._questions.append(question)
        self._answer()
        return self.hint(Committed(LogHead(epoch=question.epoch, seq=0, memberships=question.version)))

    async def apply_hints(self) -> int | None:
        """Apply what was hinted at as far as it follows without a hole: None if that is all that was heard of, else the
        seq after which something is missing.

        Raises StoreUnavailable.
        """
        head, hints = self._hub.flow.head, self._hints
        while not hints.foreign:
            async with self.turn:  # each time: own commits are not to wait for as long as others go on
                await self._learn(hints.memberships)
                if self._memberships < hints.memberships:
                    continue  # told of meanwhile, and perhaps with messages, which must wait for them
                messages = hints.following(head.seq, hints.seq, READ_LIMIT)
                if messages:
                    await self._publish(messages)
                elif head.seq < hints.seq:
                    break
                else:
                    hints.forget(head.seq)
                    return None
        return head.seq

    async def catch_up(self) -> LogHead:
        """Apply what the log has and this node has not; the log's head, up to which that is now the case."""
        flow, hints = self._hub.flow.head, self._hints
        hints.foreign = False
        seq, memberships, heard = flow.seq, self._memberships, hints.seq
        head = await self._log.head()
        if head.seq < heard:
            hints.clear()  # told before the log was set back: what it has in that place now is another message
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

    def changed(self, membership: Membership) -> str:
        """Let a membership take effect that was just changed through this node; the name of the log that counted the
        change. Call while `changing` it."""
        self._take_effect(membership)
        if membership.version == self._memberships + 1:  # else another node's changes came before: they are to be read
            self._memberships = membership.version
        return self._hub.flow.head.epoch

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
        self._hints.clear()
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
        self._answer()

    def _answer(self) -> None:
        """Tell the nodes that ask for it what is known by now."""
        epoch, known = self._hub.flow.head.epoch, self._memberships
        answered = [each for each in self._questions if each.epoch == epoch and each.version <= known]
        for question in answered:
            self._questions.remove(question)
            self._bus.tell(Answer(question.question_id))

    def _take_effect(self, membership: Membership) -> None:
        if membership.subscription is None:
            self._hub.left(membership.user_id, membership.group)
        else:
            self._hub.joined(membership.subscription)
        self._unread.changed(membership.user_id)
        self._presence.changed(membership.user_id)

    async def _read_up_to(self, seq: int) -> dict[int, int]:
        head = self._hub.flow.head
        counts: dict[int, int] = {}
        while head.seq < seq:
            messages = self._hints.following(head.seq, seq, READ_LIMIT)
            if not messages:
                read = await self._log.read(head.seq, min(READ_LIMIT, seq - head.seq))
                messages = [message for message in read if (message.seq or 0) <= seq]
            if not messages:
                head.move(seq)  # the rest expired or left retention before it was read
                break
            counts |= await self._publish(messages)
        self._hints.forget(head.seq)
        return counts

    async def _publish(self, messages: Sequence[Message]) -> dict[int, int]:
        self._unread.published(messages)  # first, for what follows may be broken off between its runs
        counts: dict[int, int] = {}
        for run in runs(messages, map(self._hub.reach, messages)):
            if counts:
                await asyncio.sleep(0)  # so that other work gets its turn
            counts |= zip([message.seq or 0 for message in run], self._hub.publish(run), strict=True)
        return counts
