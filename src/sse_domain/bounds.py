"""How much may wait in memory for readers who are behind (SPEC §3.10)."""

from __future__ import annotations

from typing import NamedTuple


class Caps(NamedTuple):
    """What may wait in memory for one stream, and how much one read of the log may bring."""

    waiting_messages: int = 256
    waiting_bytes: int = 1024 * 1024
    page_messages: int = 128
    page_bytes: int = 512 * 1024


UNLIMITED = 1 << 62


class Budget:
    """Bytes of data that may wait in memory for all streams of a node together; and how many ephemeral messages its
    streams have dropped, those that are gone included."""

    __slots__ = ("dropped", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.dropped = 0
