"""What can become of messages that Redis pushes, on their way to a subscriber: doubled, reordered, delayed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.support.commit_replies import Conversation, Reply

_AGGREGATES = {b"*": 1, b">": 1, b"~": 1, b"%": 2}
_BULKS = (b"$", b"!", b"=")
_LONGEST_DELAY = 8  # pushes that may overtake one


class PushDisorder:
    """Makes the conversations of a proxy before Redis (`run_proxy`). While it is `active`, of what is published some
    comes twice, and some only after others that were published later. All of it comes, as long as more is published.
    """

    def __init__(self, dice: Random) -> None:
        self.active = False
        self.doubled = self.delayed = 0
        self._dice = dice

    def __call__(self) -> Conversation:
        return _PushConversation(self)

    def fate(self) -> tuple[int, int]:
        """How often a message comes, and how many others go before it."""
        if not self.active:
            return 1, 0
        copies = 2 if self._dice.random() < 0.3 else 1
        delay = self._dice.randint(1, _LONGEST_DELAY) if self._dice.random() < 0.3 else 0
        self.doubled += copies > 1
        self.delayed += delay > 0
        return copies, delay


class _PushConversation(Conversation):
    """RESP3, as far as it must be understood to tell where each value ends."""

    def __init__(self, disorder: PushDisorder) -> None:
        super().__init__()
        self._disorder = disorder
        self._held: list[tuple[int, bytes]] = []  # with how many pushes are to go before

    def ask(self, received: bytes) -> tuple[bytes, bytes]:
        return received, b""

    def reply(self, received: bytes) -> Iterator[Reply]:
        self._from_server += received
        while (end := value_end(self._from_server, 0)) is not None:
            value = bytes(self._from_server[:end])
            del self._from_server[:end]
            if value.startswith(b">") and b"message\r\n" in value[:40]:
                yield from self._pushed(value)
            else:
                yield Reply(value, False)

    def _pushed(self, value: bytes) -> Iterator[Reply]:
        copies, delay = self._disorder.fate()
        if delay:
            self._held.append((delay, value))
            copies -= 1
        for _ in range(copies):
            yield Reply(value, False)
        waiting, self._held = self._held, []
        for left, held in waiting:
            if held is value or (left > 1 and self._disorder.active):
                self._held.append((left - (held is not value), held))
            else:
                yield Reply(held, False)


def value_end(buffer: bytes | bytearray, start: int) -> int | None:
    """Where the RESP3 value that begins there ends; None while it is not complete."""
    line_end = buffer.find(b"\r\n", start)
    if line_end < 0:
        return None
    kind, after = bytes(buffer[start : start + 1]), line_end + 2
    if kind in _BULKS:
        length = int(buffer[start + 1 : line_end])
        end = after if length < 0 else after + length + 2
        return end if end <= len(buffer) else None
    position: int | None = after
    for _ in range(max(0, int(buffer[start + 1 : line_end])) * _AGGREGATES[kind] if kind in _AGGREGATES else 0):
        if position is None:
            return None
        position = value_end(buffer, position)
    return position
