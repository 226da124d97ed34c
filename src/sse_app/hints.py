"""What other nodes say they have committed, kept until the feed comes to it: it spares a read of the log, and no more.

Hints come late, twice, in any order or not at all. So what is kept are messages beyond where the feed stands, by seq
and within bounds. Where one is missing, or was never kept, the log is read.
"""

from __future__ import annotations

from collections.abc import Sequence

from sse_domain.message import Message

MAX_MESSAGES = 2000
MAX_BYTES = 16 * 1024 * 1024  # of data


class Hints:
    """`seq` and `memberships` are how far the log has come by what was heard. `foreign`: a log of another name was
    spoken of, and only the log itself can tell who is mistaken."""

    def __init__(self) -> None:
        self.foreign = False
        self.seq = 0
        self.memberships = 0
        self._messages: dict[int, Message] = {}
        self._data_bytes = 0

    def add(self, messages: Sequence[Message]) -> None:
        """Keep these, which the feed has yet to come to, unless there is no room."""
        for message in messages:
            seq = message.seq or 0
            if seq in self._messages:
                continue
            if len(self._messages) >= MAX_MESSAGES or self._data_bytes + len(message.data) > MAX_BYTES:
                return
            self._messages[seq] = message
            self._data_bytes += len(message.data)

    def following(self, after: int, through: int, limit: int) -> list[Message]:
        """Those that follow the seq `after` without a hole, up to `through` and at most so many; they are kept no
        longer."""
        found: list[Message] = []
        while len(found) < limit and after < through and (message := self._messages.pop(after + 1, None)):
            found.append(message)
            self._data_bytes -= len(message.data)
            after += 1
        return found

    def forget(self, through: int) -> None:
        """What the feed has come past: it was also read from the log, or was heard again while it was applied."""
        for seq in [seq for seq in self._messages if seq <= through]:
            self._data_bytes -= len(self._messages.pop(seq).data)

    def clear(self) -> None:
        """Forget everything: it was of a log that is no longer there."""
        self._messages.clear()
        self.foreign = False
        self.seq = self.memberships = self._data_bytes = 0
