"""What the contracts say about tables: row status (SPEC §4, §5), and that removing leaves no rows behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sse_domain.cursor import Positions
from sse_domain.inbox import Delivered, TheseSeqs, UpTo
from sse_domain.message import BROADCAST, Priority, Receiver
from tests.support.clock import ManualClock
from tests.support.stores import SQLITE_FILE, Publisher, Store

# Stores with tables; the one in memory has none to look at.
pytestmark = pytest.mark.parametrize("store", ["sqlite"], indirect=True)

ANA, PHONE = Receiver.user("ana"), Receiver.client("phone")


def statuses(directory: Path) -> list[int]:
    """Of all messages, by seq."""
    with closing(sqlite3.connect(directory / SQLITE_FILE)) as connection:
        return [status for (status,) in connection.execute("SELECT status FROM app_sse_message ORDER BY id")]


def count_rows(directory: Path) -> int:
    """Of all tables together."""
    with closing(sqlite3.connect(directory / SQLITE_FILE)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return sum(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names)  # noqa: S608


async def test_delivery_raises_what_is_addressed_to_exactly_that_reader(
    store: Store, publish: Publisher, clock: ManualClock, tmp_path: Path
) -> None:
    others = (Receiver.user("phone"), Receiver.client("ana"), Receiver.user("Ana"), Receiver.group("ana"), BROADCAST)
    for receiver in (ANA, *others, PHONE, ANA):  # seqs 1 to 8
        await publish(receiver)
    assert statuses(tmp_path) == [0] * 8
    await store.inbox.record_delivered({ANA: Delivered(Positions.level(7), clock())})
    assert statuses(tmp_path) == [1, 0, 0, 0, 0, 0, 0, 0]
    await store.inbox.record_delivered({ANA: Delivered(Positions.level(8), clock())})
    assert statuses(tmp_path) == [1, 0, 0, 0, 0, 0, 0, 1]
    await store.inbox.record_delivered({PHONE: Delivered(Positions.level(8), clock())})
    assert statuses(tmp_path) == [1, 0, 0, 0, 0, 0, 1, 1]


async def test_delivery_goes_by_the_position_of_each_priority(
    store: Store, publish: Publisher, clock: ManualClock, tmp_path: Path
) -> None:
    for priority in [*Priority, *Priority]:  # seqs 1 to 6
        await publish(ANA, priority=priority)
    await store.inbox.record_delivered({ANA: Delivered(Positions(normal=0, high=5, urgent=3), clock())})
    assert statuses(tmp_path) == [0, 1, 1, 0, 1, 0]
    await store.inbox.record_delivered({ANA: Delivered(Positions(normal=1, high=0, urgent=6), clock())})
    assert statuses(tmp_path) == [1, 1, 1, 0, 1, 1]


async def test_reading_raises_what_is_to_the_user_alone(
    store: Store, publish: Publisher, clock: ManualClock, tmp_path: Path
) -> None:
    await store.subscriptions.join("ana", "team", None)
    for receiver in (ANA, BROADCAST, Receiver.group("team"), ANA, ANA, Receiver.user("bob")):  # seqs 1 to 6
        await publish(receiver)
    assert await store.inbox.mark_read("ana", TheseSeqs((1, 2, 3, 6)), clock()) == 3
    assert statuses(tmp_path) == [2, 0, 0, 0, 0, 0]
    assert await store.inbox.mark_read("ana", UpTo(Positions.level(4)), clock()) == 1
    assert statuses(tmp_path) == [2, 0, 0, 2, 0, 0]


async def test_the_status_never_decreases(store: Store, publish: Publisher, clock: ManualClock, tmp_path: Path) -> None:
    for _ in range(3):
        await publish(ANA)
    await store.inbox.mark_read("ana", TheseSeqs((1,)), clock())
    await store.inbox.record_delivered({ANA: Delivered(Positions.level(2), clock())})
    assert statuses(tmp_path) == [2, 1, 0]
    await store.inbox.record_delivered({ANA: Delivered(Positions.level(1), clock())})
    assert statuses(tmp_path) == [2, 1, 0]


@pytest.mark.parametrize("ttl", [None, 1])
async def test_what_was_removed_leaves_no_read_marks(
    store: Store, publish: Publisher, clock: ManualClock, tmp_path: Path, ttl: float | None
) -> None:
    before = count_rows(tmp_path)
    for _ in range(10):
        await publish(ANA, ttl=ttl)
    await store.inbox.mark_read("ana", UpTo(Positions.level(10)), clock())
    remove = store.retention.remove_older if ttl is None else store.retention.remove_expired
    assert await remove(clock.advance(seconds=1), 100) == 10
    assert count_rows(tmp_path) - before <= 2  # of the user there may be traces, but none for each message
