"""What SQLite must give beyond the contracts: durability, and one file for many connections and processes."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from sse_adapters.sql import SqlStore, open_sql_store
from sse_domain.cursor import Positions
from sse_domain.errors import StoreUnavailable
from sse_domain.inbox import Delivered, TheseSeqs, UpTo
from sse_domain.log import Entry, Outcome
from sse_domain.message import BROADCAST, Draft, Receiver
from sse_domain.replay import ReadRequest
from sse_domain.subscription import Audience
from tests.support.clock import ManualClock
from tests.support.stores import Publisher

ANA = Receiver.user("ana")
PHONE = Receiver.client("phone")

# Appends three at a time for as long as it lives, and says each seq when it is answered.
APPEND_FOR_EVER = """
import asyncio, sys
from datetime import UTC, datetime
from itertools import count
from sse_adapters.sql import open_sql_store
from sse_domain.message import BROADCAST, Draft
from sse_domain.log import Entry
async def main():
    draft = Draft(receiver=BROADCAST, event_type="note", data=b"{}", persist=True)
    async with open_sql_store(sys.argv[1]) as store:
        for batch in count():
            entries = [Entry(draft, f"e-{batch}-{place}", False) for place in range(3)]
            for appended in (await store.log.append(entries, datetime(2026, 1, 1, tzinfo=UTC))).appended:
                print(appended.message.seq, flush=True)
asyncio.run(main())
"""


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


# Durability


def kill_a_writer(url: str, answers: int) -> list[int]:
    """Kill APPEND_FOR_EVER after so many answers; the seqs that it answered, also those said just before it died."""
    writer = subprocess.Popen([sys.executable, "-c", APPEND_FOR_EVER, url], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    with writer.stdout:
        answered = [int(next(writer.stdout)) for _ in range(answers)]
        writer.kill()
        answered += [int(line) for line in writer.stdout if line.endswith("\n")]
    writer.wait()
    return answered


@pytest.mark.parametrize("answers", [1, 20, 100])
async def test_killed_at_any_moment_it_keeps_every_answered_message_and_no_half_batch(url: str, answers: int) -> None:
    answered = await asyncio.to_thread(kill_a_writer, url, answers)
    async with open_sql_store(url) as store:
        seqs = [message.seq for message in await store.log.read(0, 1_000_000)]
        assert (await store.log.head()).seq == len(seqs)
    assert seqs == list(range(1, len(seqs) + 1))
    assert answered == seqs[: len(answered)]
    assert len(seqs) % 3 == 0


async def test_a_commit_waits_until_the_disk_has_it(store: SqlStore) -> None:
    full = 2  # what SQLite calls it
    async with store._connections.writing() as connection:
        assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar() == full


async def test_everything_is_still_there_after_reopening(url: str, clock: ManualClock) -> None:
    async with open_sql_store(url) as store:
        message = await Publisher(store, clock)(ANA)
        await Publisher(store, clock)(BROADCAST, event_id="read")
        await store.inbox.mark_read("ana", TheseSeqs((2,)), clock())
        subscription, _, _ = await store.subscriptions.join("ana", "team", ("note",))
        given = Delivered(Positions(1, 0, 0), clock())
        await store.inbox.record_delivered({ANA: given})
        head = await store.log.head()
    async with open_sql_store(url) as store:
        assert await store.log.head() == head
        assert await store.log.read(0, 1) == [message]
        assert (await store.inbox.unread(["ana"], clock()))["ana"].total == 1
        assert (await store.subscriptions.of_users(["ana"]))["ana"] == [subscription]
        assert (await store.inbox.delivered([ANA])).get(ANA) == given


async def test_a_log_is_renamed_when_that_is_asked_for_and_else_keeps_its_name(url: str) -> None:
    async with open_sql_store(url, epoch="restored") as store:
        assert (await store.log.head()).epoch == "restored"
    async with open_sql_store(url) as store:
        assert (await store.log.head()).epoch == "restored"


@pytest.mark.parametrize("data", [b"1.0", b"1", b"1e400", b"0123", b'"\\u0000"', b"12345678901234567890"])
async def test_data_stays_the_text_that_it_was(store: SqlStore, publish: Publisher, file: Path, data: bytes) -> None:
    await publish(ANA, data=data)
    assert ask(file, "SELECT typeof(data), data, data_bytes FROM app_sse_message") == [
        ("text", data.decode(), len(data))
    ]


# One file, many connections


async def test_two_stores_on_one_file_share_one_dense_log(url: str, clock: ManualClock) -> None:
    async with open_sql_store(url) as one, open_sql_store(url) as other:
        draft = Draft(receiver=ANA, event_type="note", data=b"{}", persist=True)
        batches = [[Entry(draft, f"e{batch}-{place}", False) for place in range(2)] for batch in range(20)]
        answers = await asyncio.gather(
            *((one, other)[place % 2].log.append(batch, clock()) for place, batch in enumerate(batches))
        )
        seqs = [message.seq for answer in answers for _, message in answer.appended]
        assert sorted(seq or 0 for seq in seqs) == list(range(1, 41))
        assert await one.log.read(0, 100) == await other.log.read(0, 100)


async def test_a_reader_sees_what_another_process_has_just_committed(url: str, clock: ManualClock) -> None:
    async with open_sql_store(url) as one, open_sql_store(url) as other:
        publish = Publisher(one, clock)
        for seq in range(1, 20):
            message = await publish(ANA)
            assert (await other.log.head()).seq == seq
            assert await other.log.read(seq - 1, 10) == [message]


async def test_a_reader_and_a_writer_never_wait_for_each_other(url: str, file: Path, clock: ManualClock) -> None:
    async with open_sql_store(f"{url}?timeout=0") as store:
        publish = Publisher(store, clock)
        await publish(ANA)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN")
            assert other.execute("SELECT count(*) FROM app_sse_message").fetchone() == (1,)
            await publish(ANA)
            assert other.execute("SELECT count(*) FROM app_sse_message").fetchone() == (1,)
        assert (await store.log.head()).seq == 2


async def test_a_store_that_is_locked_too_long_says_so_and_then_goes_on(
    url: str, file: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_sql_store(f"{url}?timeout=0") as store:
        publish = Publisher(store, clock)
        await publish(ANA)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await publish(ANA)
            assert "database is locked" in caplog.text
            assert (await store.log.head()).seq == 1  # readers don't wait
            other.execute("ROLLBACK")
        assert (await publish(ANA)).seq == 2


async def test_after_a_commit_that_was_refused_the_next_transaction_is_a_new_one(
    store: SqlStore, publish: Publisher
) -> None:
    async with store._connections.writing() as connection:
        await connection.exec_driver_sql("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        await connection.exec_driver_sql(
            "CREATE TABLE child (parent REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)"
        )

    async def orphan() -> None:
        async with store._connections.writing() as connection:
            await connection.exec_driver_sql("INSERT INTO child VALUES (1)")

    async with store._connections._writers.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await connection.rollback()
        await driver.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(StoreUnavailable):
        await orphan()
    assert (await publish(ANA)).seq == 1


async def test_a_failing_append_leaves_nothing_behind_and_is_settled_by_repeating_it(
    store: SqlStore, publish: Publisher, clock: ManualClock
) -> None:
    await publish(BROADCAST, event_id="taken")
    drafts = [Draft(receiver=ANA, event_type="note", data=b"{}", persist=True)] * 3
    batch = [Entry(draft, event_id, False) for draft, event_id in zip(drafts, ("a", "taken", "b"), strict=True)]
    with pytest.raises(StoreUnavailable):
        await store.log.append(batch, clock())
    assert (await store.log.head()).seq == 1
    again = (await store.log.append([Entry(e.draft, e.event_id, True) for e in batch], clock())).appended
    assert [(outcome, message.seq) for outcome, message in again] == [
        (Outcome.NEW, 2),
        (Outcome.CONFLICT, 1),
        (Outcome.NEW, 3),
    ]


async def test_a_cancelled_call_never_leaves_a_connection_unusable(store: SqlStore, clock: ManualClock) -> None:
    audience = Audience(client_id=None, user_id="ana", subscriptions={})
    request = ReadRequest(after=(0, 0, 0), through=1_000, limit=10, max_bytes=1_000)
    draft = Draft(receiver=ANA, event_type="note", data=b"{}", persist=True)
    for steps in range(40):
        calls = [
            asyncio.ensure_future(call)
            for call in (
                store.log.replay(audience, request, clock()),
                store.inbox.unread(["ana"], clock()),
                store.log.append([Entry(draft, f"e{steps}", False)], clock()),
                store.inbox.mark_read("ana", UpTo(Positions.level(1_000)), clock()),
                store.subscriptions.join("ana", "team", (f"type{steps}",)),
            )
        ]
        for _ in range(steps):
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    head = await store.log.head()
    assert [message.seq for message in await store.log.read(0, 1_000)] == list(range(1, head.seq + 1))
    await store.inbox.mark_read("ana", UpTo(Positions.level(1_000)), clock())
    assert (await store.inbox.unread(["ana"], clock()))["ana"].total == 0


async def test_a_closed_store_stays_closed(url: str, clock: ManualClock) -> None:
    async with open_sql_store(url) as store:
        publish = Publisher(store, clock)
        await store.ping()
    await store.close()
    for call in (store.ping(), store.log.head(), publish(ANA)):
        with pytest.raises(StoreUnavailable, match="closed"):
            await call
