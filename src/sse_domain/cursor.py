"""The cursor: what the SSE `id:` field carries (SPEC §2, §3.3).

A stream's place in the log is a position per priority, because urgent messages overtake: `position[p]` says that
everything of priority p up to here was considered for this stream. While nothing is overtaken all three are equal and
the cursor is just `<seq>-<epoch>`, the same text for every level stream, so its frame can be shared. Otherwise the
three follow in base 36: `<seq>-<epoch>-<normal>.<high>.<urgent>`.

The leading digits are the seq of the message whose frame carries the cursor (the highest position on frames without a
message). With seq below 2^53, as JSON readers need, the whole is at most 16+1+8+1+3*11+2 = 61 bytes of `[0-9a-z.-]`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_SEQ = 2**53 - 1
EPOCH_LENGTH = 8

_CURSOR = re.compile(r"([0-9]{1,16})-([0-9a-z]{8})(?:-([0-9a-z]{1,11})\.([0-9a-z]{1,11})\.([0-9a-z]{1,11}))?", re.ASCII)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Positions(NamedTuple):
    """One seq per priority, indexed by Priority. Everything up to it has been considered; 0 is before the first."""

    normal: int
    high: int
    urgent: int

    @classmethod
    def level(cls, seq: int) -> Positions:
        return cls(seq, seq, seq)

    def furthest(self, other: Positions) -> Positions:
        """Per priority, the greater of both."""
        return Positions(*map(max, self, other))

    def nearest(self, other: Positions) -> Positions:
        """Per priority, the lesser of both."""
        return Positions(*map(min, self, other))


START = Positions(0, 0, 0)


class Cursor(NamedTuple):
    """A parsed cursor. `seq` is its leading number: the message it was given with."""

    seq: int
    epoch: str
    positions: Positions


def encode_level(seq: int, epoch: str) -> str:
    """The cursor of a stream that has been given everything up to `seq`."""
    return f"{seq}-{epoch}"


def encode_cursor(seq: int, epoch: str, positions: Positions) -> str:
    """The cursor of a frame for message `seq` after which a stream stands at `positions`."""
    if positions == (seq, seq, seq):
        return encode_level(seq, epoch)
    return f"{seq}-{epoch}-{'.'.join(map(_base36, positions))}"


def parse_cursor(text: str) -> Cursor | None:
    """The cursor that `text` spells, or None when it spells none. Does not judge whether a log can honour it."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        return None
    seq = int(match[1])
    positions = Positions.level(seq) if match[3] is None else Positions(*(int(match[i], 36) for i in (3, 4, 5)))
    if max(seq, *positions) > MAX_SEQ:
        return None
    return Cursor(seq, match[2], positions)


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits
