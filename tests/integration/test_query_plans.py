"""With a million messages, 10,000 users and 1,000 groups: what every call of the driven ports makes its database do.

Nothing is measured by time. What counts is which plans the database makes, and how many rows it looks at: as many as
the caller is owed or asks for, and no more for a long log.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import create_async_engine

from bench.databases.long_log import OWN_GROUPS, LongLog
from sse_adapters.sql import SqlStore, open_sql_store
from sse_adapters.sql.migrate import upgrade
from sse_adapters.sql.schema import metadata
from sse_domain import ports
from sse_domain.cursor import START, Positions
from sse_domain.inbox import Delivered, InboxQuery, StatusFilter, TheseSeqs, UpTo
from sse_domain.log import Entry
from sse_domain.message import BROADCAST, Draft, Priority, Receiver
from sse_domain.replay import ReadRequest
from sse_domain.subscription import Audience
from tests.support.costs import Call, cost_of, transactions
from tests.support.databases import KINDS, Kind, fresh_database

on_the_long_log = pytest.mark.asyncio(loop_scope="module")

LOG = LongLog()
END, NOW = LOG.messages, LOG.end
USER = "user-9"
WELL_READ = "user-1"  # has marked a tenth of the log as read, one by one
UP_TO_DATE = "user-10"  # has read the log but for its last hundredth
# Half of them are up to date. Of many more PostgreSQL would rather, and rightly, read through tables as small as here.
MANY = [f"user-{number}" for number in range(10)]
ME = Receiver.user(USER)
LATELY = LOG.beginning + timedelta(seconds=LOG.users - 200)  # two hundred users have marked something since
GROUP = "group-9"  # one of the user's
PAGE = 100
# In every page three priorities of the user's own messages, of broadcasts and of each group's are looked through, each
# for a page at most, and for each of these it is looked up whether it was read.
SPANS = 3 * (OWN_GROUPS + 2)
A_PAGE = 2 * SPANS * (PAGE + 1)
# Statistics that a server gathers by itself might change its plans from one test to the next.
ONLY_WHEN_ASKED = {"postgresql": "SET (autovacuum_enabled = false)", "mysql": "STATS_AUTO_RECALC = 0"}


@asynccontextmanager
async def empty_database(kind: Kind | Literal["sqlite"]) -> AsyncIterator[str]:
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as directory:
            yield f"sqlite+aiosqlite:///{Path(directory) / 'hub.db'}"
    else:
        async with fresh_database(kind) as url:
            yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", *KINDS])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SqlStore]:
    async with empty_database(request.param) as url:
        await upgrade(url)
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            for table in metadata.tables if request.param in ONLY_WHEN_ASKED else ():
                await connection.exec_driver_sql(f"ALTER TABLE {table} {ONLY_WHEN_ASKED[request.param]}")
            await connection.run_sync(LOG.make)
        await engine.dispose()
        async with open_sql_store(url) as store:
            yield store


def replay(after: int, user_id: str = USER, limit: int = PAGE) -> Call:
    request = ReadRequest(after=(after, after, after), through=END, limit=limit, max_bytes=10_000_000)

    async def call(store: SqlStore) -> None:
        subscriptions = {each.group: each for each in (await store.subscriptions.of_users([user_id]))[user_id]}
        owed = Audience(client_id=user_id, user_id=user_id, subscriptions=subscriptions)
        await store.log.replay(owed, request, NOW)

    return call


def listing(user_id: str = USER, **fields: Any) -> Call:
    return lambda store: store.inbox.messages(InboxQuery(user_id=user_id, **fields), START, NOW)


def append(first: int) -> Call:
    """Two hundred, under event_ids that publishers gave."""
    draft = Draft(receiver=ME, event_type="note", data=b"{}", persist=True)
    return lambda store: store.log.append([Entry(draft, f"event-{first + n}", True) for n in range(200)], NOW)


async def put(store: SqlStore) -> None:
    draft = Draft(receiver=ME, event_type="note", data=b"{}", persist=True, event_id="afresh")
    async with store._connections._writers.connect() as connection:
        await store.outbox.put(Entry(draft, "afresh", True), connection, lambda: None)


def recording(position: int) -> Call:
    given = {Receiver.user(f"user-{number}"): Delivered(Positions.level(position), NOW) for number in range(500)}
    return lambda store: store.inbox.record_delivered(given)


# By port, method and what is special about the call; and how many rows it may look at.
CALLS: dict[str, tuple[Call, int]] = {
    "log.head": (lambda store: store.log.head(), 10),
    "log.append": (append(END), 1000),
    "log.append, repeats": (append(END // 2), 1000),
    "log.read": (lambda store: store.log.read(END - 1000, PAGE), 2 * PAGE),
    "log.replay, everything": (replay(0), A_PAGE),
    "log.replay, everything to a user who has read much": (replay(0, WELL_READ), A_PAGE),
    "log.replay, the end": (replay(END - 5000), A_PAGE),
    "log.find": (lambda store: store.log.find([f"event-{n * 997}" for n in range(1000)]), 4000),
    "log.seq_before": (lambda store: store.log.seq_before(NOW - timedelta(seconds=5000)), 20),
    "log.seq_before, all of it": (lambda store: store.log.seq_before(NOW - timedelta(days=100)), 20),
    "log.seq_before, nothing": (lambda store: store.log.seq_before(NOW + timedelta(days=100)), 20),
    "log.first_owed": (lambda store: store.log.first_owed(ME, Positions.level(END - 5000), NOW), 30),
    "log.first_owed, to all": (lambda store: store.log.first_owed(BROADCAST, START, NOW), 30),
    "outbox.put": (put, 10),
    "outbox.waiting": (lambda store: store.outbox.waiting(), 10),
    "outbox.relay": (lambda store: store.outbox.relay(200, NOW), 2000),
    "inbox.messages": (listing(), A_PAGE),
    "inbox.messages, newest first": (listing(descending=True), A_PAGE),
    "inbox.messages, since": (listing(since=NOW - timedelta(seconds=50_000)), A_PAGE),
    "inbox.messages, of a type": (listing(event_type="alert"), A_PAGE),
    "inbox.messages, of a group and priority": (listing(group=GROUP, priority=Priority.HIGH), 4 * PAGE),
    **{f"inbox.messages, {status.value}": (listing(status=status), A_PAGE) for status in StatusFilter},
    **{
        f"inbox.messages, {status.value}, of a user who has read much": (listing(WELL_READ, status=status), A_PAGE)
        for status in StatusFilter
    },
    "inbox.unread": (lambda store: store.inbox.unread([USER], NOW), 10_000),
    "inbox.unread, has read much": (lambda store: store.inbox.unread([WELL_READ], NOW), 10_000),
    "inbox.unread, up to date": (lambda store: store.inbox.unread([UP_TO_DATE], NOW), 10_000),
    "inbox.unread, of many": (lambda store: store.inbox.unread(MANY, NOW), len(MANY) * 6000),
    "inbox.oldest_unread": (lambda store: store.inbox.oldest_unread(USER, NOW), 10_000),
    "inbox.oldest_unread, has read much": (lambda store: store.inbox.oldest_unread(WELL_READ, NOW), 10_000),
    "inbox.mark_read": (lambda store: store.inbox.mark_read(USER, TheseSeqs(tuple(range(1000))), NOW), 10_000),
    "inbox.mark_read, up to": (
        lambda store: store.inbox.mark_read(UP_TO_DATE, UpTo(Positions.level(END - 100)), NOW),
        10_000,
    ),
    "inbox.delivered": (lambda store: store.inbox.delivered([ME]), 10),
    "inbox.delivered, to many": (lambda store: store.inbox.delivered(list(map(Receiver.user, MANY))), 10 * len(MANY)),
    "inbox.record_delivered": (recording(END), 50),
    "subscriptions.join": (lambda store: store.subscriptions.join(USER, "group-0", ("note",)), 20),
    "subscriptions.leave": (lambda store: store.subscriptions.leave(USER, GROUP), 20),
    "subscriptions.changed_since": (lambda store: store.subscriptions.changed_since(50_000, PAGE), 3 * PAGE),
    "subscriptions.of_users": (lambda store: store.subscriptions.of_users([USER]), 5 * OWN_GROUPS),
    "subscriptions.of_users, of many": (
        lambda store: store.subscriptions.of_users(MANY),
        5 * OWN_GROUPS * len(MANY),
    ),
    "subscriptions.of_group": (lambda store: store.subscriptions.of_group(GROUP, PAGE), 3 * PAGE),
    "retention.remove_expired": (lambda store: store.retention.remove_expired(NOW + timedelta(days=99), 500), 6000),
    "retention.remove_older": (lambda store: store.retention.remove_older(NOW - timedelta(days=5), 500), 6000),
    "retention.forget_readers": (lambda store: store.retention.forget_readers(NOW, 500), 1000),
    "retention.forget_markings": (lambda store: store.retention.forget_markings(NOW, len(MANY)), 100),
    "stamps.stamps": (lambda store: store.stamps.stamps([USER]), 10 * SPANS),
    "stamps.stamps, has read much": (lambda store: store.stamps.stamps([WELL_READ]), 10 * SPANS),
    "stamps.stamps, of many": (lambda store: store.stamps.stamps(MANY), 10 * SPANS * len(MANY)),
    "stamps.marked_since": (lambda store: store.stamps.marked_since(LATELY, PAGE), 3 * PAGE),
}


def test_no_call_is_forgotten() -> None:
    of_ports = {
        "log": ports.MessageLog,
        "outbox": ports.Outbox,
        "inbox": ports.Inbox,
        "subscriptions": ports.Subscriptions,
        "retention": ports.Retention,
        "stamps": ports.UnreadStamps,
    }  # not StoreTime, which asks no table, nor LogIdentity: a log that was set back has much to put right
    all_calls = {f"{name}.{method}" for name, port in of_ports.items() for method in port.__abstractmethods__}
    assert {name.partition(",")[0] for name in CALLS} == all_calls


@on_the_long_log
@pytest.mark.parametrize(("call", "most"), CALLS.values(), ids=CALLS)
async def test_every_call_finds_what_it_needs_by_an_index(store: SqlStore, call: Call, most: int) -> None:
    cost = await cost_of(store, call)
    assert cost.scanned <= {"app_sse_log"}  # which has one row
    assert cost.rows <= most


@on_the_long_log
async def test_a_resume_costs_what_was_missed_and_not_the_log(store: SqlStore) -> None:
    newest = await store.inbox.messages(InboxQuery(user_id=USER, descending=True, limit=1000), START, NOW)
    rows = {}
    for missed in (0, 10, 100, 1000):
        after = END if not missed else (newest[missed - 1].message.seq or 0) - 1
        rows[missed] = (await cost_of(store, replay(after, limit=1000))).rows
    assert rows[0] <= 5 * SPANS
    assert all(rows[missed] - rows[0] <= 12 * (SPANS + missed) for missed in rows), rows


@on_the_long_log
@pytest.mark.parametrize("store", KINDS, indirect=True, scope="module")
@pytest.mark.parametrize("call", [name for name in CALLS if name.startswith("retention.")])
async def test_while_retention_removes_sends_go_on(store: SqlStore, call: str) -> None:
    """Until it locks the log, if it does: and then it only removes a few floors or markings before it commits."""
    for transaction in await transactions(store, CALLS[call][0]):
        locks = [number for number, (sql, _) in enumerate(transaction) if "app_sse_log" in sql] or [len(transaction)]
        async with store._connections._writers.connect() as removing:
            for sql, parameters in transaction[: locks[0]]:
                await removing.exec_driver_sql(sql, parameters if isinstance(parameters, tuple) else tuple(parameters))
                assert await transactions(store, append(END))  # an error when it has to wait for long
        assert all(re.search("app_sse_(read_floor|marking)", sql) for sql, _ in transaction[locks[0] + 1 :])


@pytest.mark.parametrize("kind", ["sqlite", *KINDS])
async def test_where_nearly_all_messages_are_of_one_receiver_others_are_not_looked_for_among_them(
    kind: Kind | Literal["sqlite"],
) -> None:
    """A database may take what is looked for to be what most of its rows have."""
    drafts = [Draft(receiver=BROADCAST, event_type="note", data=b"{}", persist=True)] * 20_000
    audience = Audience(client_id=USER, user_id=USER, subscriptions={})
    everything = ReadRequest(after=(0, 0, 0), through=len(drafts), limit=PAGE, max_bytes=10_000_000)
    calls: list[Call] = [
        *(listing(), listing(descending=True)),
        lambda store: store.log.replay(audience, everything, NOW),
        lambda store: store.log.first_owed(ME, START, NOW),
        lambda store: store.inbox.oldest_unread(USER, NOW),
        lambda store: store.stamps.stamps([USER]),
    ]
    async with empty_database(kind) as url:
        await upgrade(url)
        async with open_sql_store(url) as store:
            await store.log.append([Entry(draft, f"event-{n}", False) for n, draft in enumerate(drafts)], LOG.beginning)
            await store.subscriptions.join(USER, GROUP, None)
            async with store._connections.writing() as connection:
                if kind != "sqlite":  # which does not by itself
                    await connection.exec_driver_sql("ANALYZE TABLE app_sse_message" if kind == "mysql" else "ANALYZE")
            assert max([(await cost_of(store, call)).rows for call in calls]) <= 10 * PAGE
