"""Seqs in rising order, as an index over messages that come at the end and may go from anywhere."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator


class RisingSeqs:
    """The seqs of one kind of message. Appending is O(1), removing O(1) on average, finding a place O(log n).

    `kept` tells which seqs are still there. Removed ones stay in the list until they are half of it: taking
    each out at once would move the whole rest, and make a purge quadratic.
    """

    __slots__ = ("_kept", "_removed", "_seqs")

    def __init__(self, kept: Container[int]) -> None:
        self._kept = kept
        self._seqs: list[int] = []
        self._removed = 0

    def __len__(self) -> int:
        return len(self._seqs) - self._removed

    def append(self, seq: int) -> None:
        """Add a seq greater than all before."""
        self._seqs.append(seq)

    def removed_one(self) -> None:
        """Take note that one of these seqs is no longer among the kept."""
        self._removed += 1
        if self._removed * 2 > len(self._seqs):
            self._seqs = [seq for seq in self._seqs if seq in self._kept]
            self._removed = 0

    def rising(self, after: int, through: int) -> Iterator[int]:
        """Those beyond `after`, up to and including `through`."""
        seqs = self._seqs
        places = range(bisect_right(seqs, after), bisect_right(seqs, through))
        return (seqs[place] for place in places if seqs[place] in self._kept)

    def falling(self, below: int) -> Iterator[int]:
        """Those less than `below`, the greatest first."""
        seqs = self._seqs
        places = range(bisect_left(seqs, below) - 1, -1, -1)
        return (seqs[place] for place in places if seqs[place] in self._kept)
