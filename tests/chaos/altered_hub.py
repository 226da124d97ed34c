"""`sse-hub`, altered. Run as a program, in place of sse-hub: its first argument says in which way.

One way is a handicap that it has to cope with. The others are bugs, each of which a test of a node alone may well not
notice: it takes others, and a fault.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sse_app import flow
from sse_app.cli import main
from sse_app.clock import StoreClock, SystemClock
from sse_app.fan_out import FanOut
from sse_app.feed import Feed
from sse_app.hints import Hints
from sse_app.hub import Hub
from sse_domain.cursor import Positions, encode_level
from sse_domain.message import Message
from sse_domain.notes import Passing
from sse_domain.replay import LogHead


def clock_an_hour_fast() -> None:
    """The machine's."""

    def machine_time(self: SystemClock) -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)

    SystemClock.machine_time = machine_time  # type: ignore[method-assign]


def holes_are_passed_over() -> None:
    """What was heard over the bus beyond a hole is given, and what is in the hole never is."""

    def following(self: Hints, after: int, through: int, limit: int) -> list[Message]:
        seqs = sorted(seq for seq in self._messages if after < seq <= through)[:limit]
        return [self._messages.pop(seq) for seq in seqs]

    Hints.following = following  # type: ignore[method-assign]


def ticks_are_skipped() -> None:
    """Nobody looks at the log by itself."""

    async def catch_up(self: Feed) -> LogHead:
        head = self._hub.flow.head
        return LogHead(epoch=head.epoch, seq=head.seq, memberships=self._memberships)

    Feed.catch_up = catch_up  # type: ignore[method-assign]


def cursors_are_level() -> None:
    """What was overtaken is not said in the cursor."""

    def encode(seq: int, epoch: str, positions: Positions) -> str:
        return encode_level(seq, epoch)

    flow.encode_cursor = encode  # type: ignore[attr-defined]


def leaving_is_not_noticed() -> None:
    """By the streams that are open."""

    def left(self: Hub, user_id: str, group: str) -> None: ...

    Hub.left = left  # type: ignore[method-assign]


def doubled_notes_are_given_twice() -> None:
    """Ephemeral messages are taken as often as they are heard."""
    hear = FanOut.hear

    def hear_as_if_new(self: FanOut, node_id: str, passing: Passing) -> None:
        self._taken.clear()
        hear(self, node_id, passing)

    FanOut.hear = hear_as_if_new  # type: ignore[method-assign]


def the_machines_clock_counts() -> None:
    """It is an hour fast, and is not set right by the store's."""

    async def adjust(self: StoreClock) -> None: ...

    StoreClock.adjust = adjust  # type: ignore[method-assign]
    clock_an_hour_fast()


def altered(way: Callable[[], None]) -> list[str]:
    """The program, as `ServerProcess` takes it."""
    return [str(__file__), way.__name__]


if __name__ == "__main__":
    globals()[sys.argv.pop(1)]()
    main()
