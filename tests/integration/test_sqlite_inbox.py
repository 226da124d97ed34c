"""The inbox on SQLite beyond its contract: large numbers, and what is kept to make counting cheap."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from sse_adapters.sql import SqlStore, open_sql_store
from sse_adapters.sql.inbox import MARKS_AT_ONCE, RECORDS_AT_ONCE
from sse_domain.cursor import Positions
from sse_domain.inbox import Delivered, TheseSeqs, UpTo
from sse_domain.log import Entry
from sse_domain.message import BROADCAST, Draft, Receiver
from tests.support.clock import ManualClock
from tests.support.stores import Publisher

ANA = Receiver.user("ana")
PHONE = Receiver.client("phone")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    async with open_sql_store(url) as store:
        yield store


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def publish(store: SqlStore, clock: ManualClock) -> Publisher:
    return Publisher(store, clock)


def ask(file: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()


async def append_many(store: SqlStore, clock: ManualClock, receivers: Sequence[Receiver]) -> None:
    entries = [
        Entry(Draft(receiver=receiver, event_type="note", data=b"{}", persist=True), f"many-{place}", False)
        for place, receiver in enumerate(receivers)
    ]
    await store.log.append(entries, clock())


async def test_any_number_of_messages_is_marked(store: SqlStore, publish: Publisher, clock: ManualClock) -> None:
    count = 2 * MARKS_AT_ONCE + 1
    await append_many(store, clock, [ANA, BROADCAST, PHONE] * count)
    assert await store.inbox.mark_read("ana", UpTo(Positions.level(3 * count)), clock()) == 2 * count
    assert (await store.inbox.unread(["ana"], clock()))["ana"].total == 0
    await publish(ANA)
    assert (await store.inbox.unread(["ana"], clock()))["ana"].total == 1


@pytest.mark.parametrize("unread", [1, 1024, 1025, 9_999])
async def test_what_was_left_unread_is_found_wherever_it_is(store: SqlStore, clock: ManualClock, unread: int) -> None:
    await append_many(store, clock, [BROADCAST] * 9_999)
    marked = tuple(seq for seq in range(1, 10_000) if seq != unread)
    assert await store.inbox.mark_read("ana", TheseSeqs(marked), clock()) == 9_998
    assert await store.inbox.mark_read("ana", TheseSeqs(marked), clock()) == 0
    assert await store.inbox.oldest_unread("ana", clock()) == (unread, None, None)
    assert (await store.inbox.unread(["ana"], clock()))["ana"].total == 1


async def test_what_a_widened_subscription_brings_back_counts_as_unread(
    store: SqlStore, publish: Publisher, clock: ManualClock
) -> None:
    team = Receiver.group("team")
    await store.subscriptions.join("ana", "team", ("b",))
    await publish(team, event_type="a")
    await publish(team, event_type="b")
    await store.inbox.mark_read("ana", UpTo(Positions.level(2)), clock())
    assert (await store.inbox.unread(["ana"], clock()))["ana"].total == 0
    await store.subscriptions.join("ana", "team", None)
    assert await store.inbox.oldest_unread("ana", clock()) == (1, None, None)


async def test_any_number_of_readers_is_recorded(store: SqlStore, clock: ManualClock) -> None:
    count = 2 * RECORDS_AT_ONCE + 1
    given = Delivered(Positions(1, 2, 3), clock())
    await store.inbox.record_delivered({Receiver.user(f"user-{number}"): given for number in range(count)})
    for number in (0, RECORDS_AT_ONCE, count - 1):
        assert (await store.inbox.delivered([Receiver.user(f"user-{number}")])).get(
            Receiver.user(f"user-{number}")
        ) == given
    assert await store.retention.forget_readers(clock.advance(seconds=1), 2 * count) == count


async def test_what_is_known_about_removed_messages_goes_with_them(
    store: SqlStore, publish: Publisher, clock: ManualClock, file: Path
) -> None:
    for _ in range(3):
        await publish(BROADCAST)
    for user in ("ana", "bob"):
        await store.inbox.mark_read(user, UpTo(Positions.level(3)), clock())
    assert ask(file, "SELECT count(*) FROM app_sse_read_floor") == [(2,)]
    assert await store.retention.remove_older(clock.advance(seconds=1), 10) == 3
    assert ask(file, "SELECT count(*) FROM app_sse_read") == [(0,)]
    assert ask(file, "SELECT count(*) FROM app_sse_read_floor") == [(0,)]
