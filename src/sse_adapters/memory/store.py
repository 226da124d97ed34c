"""The store that keeps nothing: `memory://`, for tests and throw-away use."""

from __future__ import annotations

import secrets

from sse_adapters.memory.clock import MemoryTime
from sse_adapters.memory.inbox import MemoryInbox
from sse_adapters.memory.message_log import MemoryMessageLog
from sse_adapters.memory.outbox import MemoryOutbox
from sse_adapters.memory.retention import MemoryRetention
from sse_adapters.memory.state import MemoryState
from sse_adapters.memory.subscriptions import MemorySubscriptions
from sse_adapters.memory.unread_stamps import MemoryUnreadStamps
from sse_domain.cursor import EPOCH_LENGTH


class MemoryStore:
    """A new, empty log and everything kept with it: one adapter per driven port, all over the same state.

    `epoch` names the log (8 of `[0-9a-z]`); left out, it is random, so that no cursor of another log fits.
    """

    def __init__(self, *, epoch: str | None = None) -> None:
        state = MemoryState(epoch or secrets.token_hex(EPOCH_LENGTH // 2))
        self.log = MemoryMessageLog(state)
        self.outbox = MemoryOutbox(self.log)
        self.inbox = MemoryInbox(state)
        self.subscriptions = MemorySubscriptions(state)
        self.retention = MemoryRetention(state)
        self.stamps = MemoryUnreadStamps(state)
        self.time = MemoryTime()

    async def start(self) -> None:
        """Nothing to open: the store is there once constructed."""

    async def close(self) -> None:
        """Nothing to release: what was kept goes with the object."""
