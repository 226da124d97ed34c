"""The benchmark of databases: what it puts in and asks for, how it reckons, and that it runs."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.databases.appends import IN_BATCHES, ONE_BY_ONE
from bench.databases.figures import AllSends, Appending, Appends, Figures, Latency, Resumes, Sends
from bench.databases.own_inserts import native_time, own_ways
from bench.databases.reads import READER, long_log, start_of_missed
from bench.databases.report import Results, render
from bench.databases.scenarios import Plan
from bench.databases.server_cpu import connection_cpu_seconds, seconds_between
from bench.databases.sites import empty_database, file_system
from sse_adapters.sql import open_sql_store
from sse_adapters.sql.rows import from_message
from sse_adapters.sql.schema import message
from sse_domain.message import Message, Priority, Receiver
from sse_domain.replay import ReadRequest
from sse_domain.subscription import Audience
from tests.support.hub_databases import DURABLE

CHECKOUT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(("kind", "way"), [(kind, way) for kind in DURABLE for way in own_ways(kind)])
async def test_what_the_drivers_insert_is_what_the_store_reads(kind: str, way: str) -> None:
    messages = [
        Message(
            event_id=f"event-{seq}",
            seq=seq,
            event_type="bench",
            receiver=Receiver.user("ada"),
            priority=Priority.NORMAL,
            data=b'{"text": "\xc3\xa4"}',
            created_at=NOW,
        )
        for seq in (1, 2, 3, 4)
    ]
    created_at = message.c.keys().index("created_at")
    rows = [list(from_message(each)) for each in messages]
    for row in rows:
        row[created_at] = native_time(kind, NOW)
    async with empty_database(kind) as url:
        async with own_ways(kind)[way](url, 2) as insert:
            await insert([tuple(row) for row in rows[:2]])
            await insert([tuple(row) for row in rows[2:]])
        async with open_sql_store(url) as store:
            assert await store.log.read(0, 10) == messages


async def test_the_reader_misses_exactly_so_many() -> None:
    messages, missed = 20_000, 100
    async with long_log("sqlite", messages, missed) as url, open_sql_store(url) as store:
        standing = (await store.subscriptions.of_users([READER]))[READER]
        subscriptions = {each.group: each for each in standing}
        after = start_of_missed(messages, missed)
        request = ReadRequest(after=(after, after, after), through=messages, limit=1000, max_bytes=1_000_000)
        audience = Audience(client_id="any", user_id=READER, subscriptions=subscriptions)
        page = await store.log.replay(audience, request, datetime.now(UTC))
    assert page.complete
    assert len(page.messages) == missed
    assert len(subscriptions) == 10


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_the_cpu_of_connections_is_that_of_what_they_did(kind: str) -> None:
    async with empty_database(kind) as url, open_sql_store(url) as store:
        await store.log.head()
        before = await connection_cpu_seconds(url)
        if not before:
            pytest.skip("the server does not run where this process could look")
        await store.log.head()
        used = seconds_between(before, await connection_cpu_seconds(url))
        assert used is not None
        assert 0 < used < 10


async def test_there_is_no_cpu_to_read_without_a_server() -> None:
    async with empty_database("sqlite") as url:
        assert seconds_between({}, await connection_cpu_seconds(url)) is None


def test_a_file_system_is_that_of_the_innermost_mount() -> None:
    assert file_system(Path("/proc/self")) == "proc"


def test_the_report_shows_medians_ratios_and_targets() -> None:
    def appending(*rates: float) -> list[Appending]:
        return [Appending(messages=1000, seconds=1000 / rate, cpu_seconds=0.01) for rate in rates]

    appends = Appends(
        own={"executemany": appending(10_000, 30_000, 20_000), "unnest": appending(40_000, 50_000, 80_000)},
        sequencer={ONE_BY_ONE: appending(20_000, 10_000, 20_000), IN_BATCHES: appending(30_000, 40_000, 40_000)},
        messages_a_transaction={ONE_BY_ONE: 199.6, IN_BATCHES: 200},
    )

    def figures(database_cpu: float | None) -> Figures:
        sends = [
            Sends(messages=1000, seconds=seconds, hub_cpu_seconds=0.03, database_cpu_seconds=database_cpu)
            for seconds in (0.1, 0.05, 1)
        ]
        return Figures(
            appends=appends,
            sends=AllSends(rounds=sends, sent=4000, found=3999),
            unread={"store": [Latency(p50=ms, p99=3 * ms, failed=1) for ms in (1, 3, 2)]},
            resumes={10: Resumes(short=[10, 10, 20], long=[10, 12, 40])},
        )

    plan = Plan(
        append_rounds=3,
        transactions=5,
        send_rounds=3,
        batches=1,
        batch=1000,
        short_log=100_000,
        long_log=1_000_000,
        unread_rounds=3,
        reads=2000,
        resume_rounds=3,
        missed=(10,),
    )
    results = Results(plan=plan, remarks=["on paper"], figures={"SQLite": figures(None), "PostgreSQL": figures(0.02)})
    page = render(results).splitlines()
    assert "- on paper" in page
    assert "| | SQLite | PostgreSQL | target |" in page
    assert "| driver, unnest, messages per second | 50,000 | 50,000 |  |" in page
    assert "| driver, unnest, µs of CPU a message | 10.0 | 10.0 |  |" in page
    assert "| the driver's fastest way | unnest | unnest |  |" in page
    assert f"| sequencer, {ONE_BY_ONE}, × the driver's fastest way | 0.25 | 0.25 | ≥ 0.50 |" in page
    assert f"| sequencer, {IN_BATCHES}, × the driver's fastest way | 0.75 | 0.75 | ≥ 0.50 |" in page
    assert f"| sequencer, {ONE_BY_ONE}, messages a transaction | 200 | 200 | 200 |" in page
    assert "| sends per second | 10,000 | 10,000 | ≥ 15,000 on PostgreSQL |" in page
    assert "| CPU of its connections in the database server per send, µs | – | 20.0 |  |" in page
    assert "| messages found again | 3,999 | 3,999 | all |" in page
    assert "| store, p99, ms | 6.00 | 6.00 | ≤ 5 on PostgreSQL |" in page
    assert "| store, failed in all rounds | 3 | 3 | 0 |" in page
    assert "| 10 missed, of 1,000,000, ms | 12.0 | 12.0 |  |" in page
    assert "| 10 missed, the long log × the short | 1.20 | 1.20 | about 1 |" in page


def test_a_quick_run_writes_the_report(tmp_path: Path) -> None:
    out = tmp_path / "results" / "report.md"
    run = subprocess.run(
        [sys.executable, "-m", "bench.databases", "--quick", "--kind", "sqlite", "--out", str(out)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    assert out.read_text() == run.stdout.removesuffix("\n")
    assert re.search(r"^- SQLite 3\.\S+: a file on ", run.stdout, re.MULTILINE)
    assert "| sequencer, one by one, messages a transaction | 200 | 200 |" in run.stdout
    assert "| messages sent | 1,200 |  |" in run.stdout
    assert "| messages found again | 1,200 | all |" in run.stdout
    assert "## Unread counts in a log of 40,000 messages" in run.stdout
    assert re.search(r"^\| 100 missed, the long log × the short \| \d+\.\d\d \| about 1 \|$", run.stdout, re.MULTILINE)
