"""The outbox: sending inside transactions of the application's own, and relaying what they commit (SPEC §6).

A message waits in the outbox from the commit of its transaction, which the hub neither takes part in nor waits for.
The relay then moves it into the log, where it gets its seq like any other. It holds the feed's turn meanwhile, as the
sequencer does for its commits, so streams are given the log without a hole.

What may be waiting is looked for on a tick: other processes put things in, and a crash leaves things behind. Beyond
that, this process's own commits are known of, but only just before they happen: from then on the relay looks soon and
then ever more rarely, until the tick is as good.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from sse_app.clock import Clock
from sse_app.feed import Feed
from sse_app.publisher import Publisher
from sse_app.sending import Sending
from sse_domain.errors import InvalidInput, Unavailable
from sse_domain.log import Appended, Entry, Outcome
from sse_domain.message import Draft
from sse_domain.ports import Outbox

log = logging.getLogger("sse_hub.outbox")

RELAY_MESSAGES = 200  # in one transaction
FIRST_LOOK_SECONDS = 0.01  # after a commit was announced; so often at most it is looked, however many there are
TICK_SECONDS = 1.0


class OutboxRelay:
    def __init__(self, outbox: Outbox, feed: Feed, clock: Clock) -> None:
        self.accepted = 0
        self._outbox = outbox
        self._feed = feed
        self._clock = clock
        self._committing = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._stopped = False

    async def put(self, entry: Entry, transaction: object) -> None:
        """See Outbox.put."""
        await self._outbox.put(entry, transaction, self._look_soon)

    async def run(self) -> None:
        """Move all that waits into the log and apply it. Raises StoreUnavailable; what then still waits stays."""
        while not self._stopped and await self._outbox.waiting():
            async with self._feed.turn:
                appended, head = await self._outbox.relay(RELAY_MESSAGES, self._clock.now())
                await self._feed.apply(head, [a.message for a in appended if a.outcome is Outcome.NEW])
            self._account_for(appended)

    async def stop(self) -> None:
        """Finish the relay that is under way, and begin no other: the rest is left to other nodes or the next start."""
        self._stopped = True
        self._committing.set()
        if self._looking is not None:
            await self._looking
        async with self._feed.turn:  # the tick's
            pass

    def _look_soon(self) -> None:
        """A transaction of this process is about to commit messages."""
        if self._stopped:
            return
        self._committing.set()
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        try:
            pause = 0.0
            while not self._stopped and (pause < TICK_SECONDS or self._committing.is_set()):
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._committing.wait()
                pause = FIRST_LOOK_SECONDS if self._committing.is_set() else 2 * pause
                self._committing.clear()
                await asyncio.sleep(FIRST_LOOK_SECONDS)
                await self._run_or_put_off()
        finally:
            self._looking = None

    async def _run_or_put_off(self) -> None:
        try:
            await self.run()
        except Unavailable as error:
            log.warning("put off: %s", error.detail)
        except Exception:
            log.exception("relaying failed; it is tried again")

    def _account_for(self, appended: list[Appended]) -> None:
        for outcome, message in appended:
            if outcome is Outcome.NEW:
                self.accepted += 1
            elif outcome is Outcome.CONFLICT:
                log.error(
                    "dropped a message: its event_id %r was used for one with other content, before its transaction "
                    "was committed",
                    message.event_id,
                )


class TransactionOutbox(Sending[str]):
    """Sends inside one transaction of the caller's: each message exists if and only if that commits.

    Every call answers the message's event_id. It gets its seq, and its ttl begins, when it is relayed, right after the
    commit. Raises InvalidInput, and EventIdConflict if the event_id was used before for other content; one that is used
    meanwhile is logged as an error, and the message dropped. What the transaction itself raises comes out as it is.
    """

    persist = True

    def __init__(self, transaction: object, publisher: Publisher, relay: OutboxRelay) -> None:
        self._transaction = transaction
        self._publisher = publisher
        self._relay = relay

    async def send(self, draft: Draft) -> str:
        if not draft.persist:
            raise InvalidInput("persist", "what is sent inside a transaction is always persisted")
        entry = self._publisher.entry(draft)
        await self._relay.put(entry, self._transaction)
        return entry.event_id
