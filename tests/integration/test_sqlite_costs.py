"""What a read touches: found through an index, and no more the longer the log gets (SQLite).

Costs are counted in steps of SQLite's virtual machine, which are the same at every run.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from sse_adapters.sql import SqlStore, open_sql_store
from sse_domain.cursor import START, Positions
from sse_domain.inbox import Delivered, InboxQuery, StatusFilter, TheseSeqs, UpTo
from sse_domain.log import Entry
from sse_domain.message import BROADCAST, Draft, Priority, Receiver
from sse_domain.replay import ReadRequest
from sse_domain.subscription import Audience

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANA = Receiver.user("ana")
PHONE = Receiver.client("phone")
SUBSCRIPTIONS = 1000

Call = Callable[[SqlStore], Awaitable[object]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.fixture
async def store(file: Path) -> AsyncIterator[SqlStore]:
    async with open_sql_store(f"sqlite+aiosqlite:///{file}") as store:
        yield store


class Log:
    """Appends messages under event_ids of its own."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self.length = 0

    async def append(self, *receivers: Receiver, ttl: float | None = None) -> None:
        drafts = [Draft(receiver=r, event_type="note", data=b"{}", persist=True, ttl=ttl) for r in receivers]
        first, self.length = self.length, self.length + len(drafts)
        entries = [Entry(draft, f"e{first + place}", False) for place, draft in enumerate(drafts)]
        await self._store.log.append(entries, NOW)


@contextmanager
def statements(store: SqlStore) -> Iterator[list[tuple[str, Any]]]:
    """Every statement that is sent meanwhile, each with (its first) parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:
        sent.append((sql, parameters[0] if many else parameters))

    engines = [store._connections._readers.sync_engine, store._connections._writers.sync_engine]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield sent
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


async def steps(store: SqlStore, file: Path, call: Call) -> int:
    """How many steps of SQLite's machine a call takes when it is made again; what it writes is not kept."""
    with statements(store) as sent:
        await call(store)
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    with closing(sqlite3.connect(file)) as connection:
        connection.set_progress_handler(count, 1)
        for sql, parameters in sent:
            if not sql.startswith("BEGIN"):
                connection.execute(sql, parameters).fetchall()
    return taken


def audience(**joined: int) -> Audience:
    return Audience(client_id="phone", user_id="ana", groups=frozenset(joined), subscriptions={})


def replay(after: int, through: int) -> Call:
    request = ReadRequest(after=(after, after, after), through=through, limit=50, max_bytes=10_000)
    return lambda store: store.log.replay(audience(team=0), request, NOW)


def listing(**fields: Any) -> Call:
    return lambda store: store.inbox.messages(InboxQuery(user_id="ana", **fields), START, NOW)


def recording(position: int) -> Call:
    given = Delivered(Positions.level(position), NOW)
    return lambda store: store.inbox.record_delivered({ANA: given})


EVERY_CALL: dict[str, Call] = {
    "head": lambda store: store.log.head(),
    "append": lambda store: store.log.append(
        [Entry(Draft(receiver=ANA, event_type="note", data=b"{}", persist=True), "e0", True)], NOW
    ),
    "read": lambda store: store.log.read(2, 10),
    "replay": replay(0, 100),
    "find": lambda store: store.log.find(["e1", "e2"]),
    "seq before": lambda store: store.log.seq_before(NOW),
    "first owed": lambda store: store.log.first_owed(ANA, START, NOW),
    "messages": listing(),
    "messages, newest first": listing(descending=True),
    "messages since": listing(since=NOW),
    "messages of a type, group and priority": listing(event_type="note", group="team", priority=Priority.NORMAL),
    **{f"{status.value} messages": listing(status=status) for status in StatusFilter},
    "unread": lambda store: store.inbox.unread(["ana"], NOW),
    "oldest unread": lambda store: store.inbox.oldest_unread("ana", NOW),
    "mark some": lambda store: store.inbox.mark_read("ana", TheseSeqs((1, 2)), NOW),
    "mark up to": lambda store: store.inbox.mark_read("ana", UpTo(Positions.level(3)), NOW),
    "delivered": lambda store: store.inbox.delivered([ANA]),
    "record delivered": recording(3),
    "join": lambda store: store.subscriptions.join("ana", "team", ("note",)),
    "leave": lambda store: store.subscriptions.leave("ana", "team"),
    "memberships changed since": lambda store: store.subscriptions.changed_since(0, 10),
    "subscriptions of a user": lambda store: store.subscriptions.of_users(["ana"]),
    "subscriptions of a group": lambda store: store.subscriptions.of_group("team", 10),
    "remove expired": lambda store: store.retention.remove_expired(NOW + timedelta(minutes=2), 2),
    "remove older": lambda store: store.retention.remove_older(NOW + timedelta(seconds=1), 2),
    "forget readers": lambda store: store.retention.forget_readers(NOW + timedelta(seconds=1), 2),
    "forget markings": lambda store: store.retention.forget_markings(NOW + timedelta(seconds=1), 2),
    "stamps": lambda store: store.stamps.stamps(["ana"]),
    "marked since": lambda store: store.stamps.marked_since(NOW, 10),
}


@pytest.mark.parametrize("call", EVERY_CALL.values(), ids=EVERY_CALL)
async def test_no_call_reads_through_a_table(store: SqlStore, file: Path, call: Call) -> None:
    await store.subscriptions.join("ana", "team", None)
    await Log(store).append(ANA, BROADCAST, PHONE, Receiver.group("team"), ttl=60)
    await store.inbox.mark_read("ana", TheseSeqs((1,)), NOW)
    await store.inbox.record_delivered({ANA: Delivered(START, NOW)})
    with statements(store) as sent:
        await call(store)
    plans = []
    with closing(sqlite3.connect(file)) as connection:
        for sql, parameters in sent:
            if not sql.startswith("BEGIN"):
                plans += [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    scanned = {plan.split()[1] for plan in plans if plan.startswith("SCAN")}
    # Found, not looked through.
    answers = {name for name in scanned if re.fullmatch(r"span(_\d+)?|answers|membership|their_group|newest", name)}
    assert plans or sent == [("BEGIN IMMEDIATE", ())]
    assert scanned - answers <= {"app_sse_log"}, plans


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(replay(0, 100_000), id="replay from the beginning"),
        pytest.param(replay(6, 100_000), id="replay from where the user stands"),
        pytest.param(EVERY_CALL["first owed"], id="first owed"),
        pytest.param(EVERY_CALL["unread"], id="unread"),
        pytest.param(EVERY_CALL["oldest unread"], id="oldest unread"),
        pytest.param(EVERY_CALL["messages"], id="messages"),
        pytest.param(EVERY_CALL["messages, newest first"], id="messages, newest first"),
        pytest.param(EVERY_CALL["stamps"], id="stamps"),
    ],
)
async def test_what_others_get_costs_a_user_nothing(store: SqlStore, file: Path, call: Call) -> None:
    log = Log(store)
    others = [Receiver.user("bob"), Receiver.client("ana"), Receiver.group("other"), Receiver.user("ana ")]
    await log.append(*others, ANA, PHONE, BROADCAST, Receiver.group("team"))
    before = await steps(store, file, call)
    await log.append(*others * 500)
    assert await steps(store, file, call) == before


async def test_a_page_of_a_replay_costs_no_more_when_more_is_owed(store: SqlStore, file: Path) -> None:
    log = Log(store)
    await log.append(*[ANA, BROADCAST] * 100)
    before = await steps(store, file, replay(0, 100_000))
    await log.append(*[ANA, BROADCAST] * 1000)
    assert await steps(store, file, replay(0, 100_000)) == before


async def test_a_stamp_costs_no_more_when_more_is_unread(store: SqlStore, file: Path) -> None:
    await store.subscriptions.join("ana", "team", None)
    log = Log(store)
    costs = []
    for _ in range(3):
        await log.append(*[ANA, BROADCAST, Receiver.group("team")] * 1000)
        costs.append(await steps(store, file, EVERY_CALL["stamps"]))
    assert len(set(costs)) == 1, costs


async def test_what_was_read_long_ago_costs_the_count_nothing(store: SqlStore, file: Path) -> None:
    log = Log(store)
    costs = []
    for _ in range(3):
        await log.append(*[ANA, BROADCAST] * 1000)
        await store.inbox.mark_read("ana", UpTo(Positions.level(log.length)), NOW)
        await log.append(ANA, BROADCAST)
        costs.append(await steps(store, file, EVERY_CALL["unread"]))
        await store.inbox.mark_read("ana", UpTo(Positions.level(log.length)), NOW)
    assert len(set(costs)) == 1, costs


async def test_what_was_given_long_ago_costs_a_record_nothing(store: SqlStore, file: Path) -> None:
    log = Log(store)
    costs = []
    for _ in range(3):
        await log.append(*[ANA] * 100)
        await recording(log.length)(store)
        costs.append(await steps(store, file, recording(log.length)))
    assert len(set(costs)) == 1, costs


async def test_since_looks_only_at_the_beginning_of_its_period(store: SqlStore, file: Path) -> None:
    async def append_at(second: int) -> None:
        draft = Draft(receiver=ANA, event_type="note", data=b"{}", persist=True)
        await store.log.append([Entry(draft, f"at {second}", False)], NOW + timedelta(seconds=second))

    for second in (0, 1, 2, 4, 3, 5):  # a clock was set back by a second
        await append_at(second)
    costs = []
    for second in range(6, 200):
        await append_at(second)
        costs.append(await steps(store, file, EVERY_CALL["seq before"]))
    assert costs[0] == costs[-1]


async def test_a_user_with_many_subscriptions_is_served_like_one_with_few(store: SqlStore) -> None:
    joined = {}
    for number in range(SUBSCRIPTIONS):
        types = ("note",) if number % 2 else None
        joined[f"group-{number}"], _, _ = await store.subscriptions.join("ana", f"group-{number}", types)
    log = Log(store)
    await log.append(*(Receiver.group(f"group-{number}") for number in range(0, 2 * SUBSCRIPTIONS, 100)))
    owed = Audience(client_id=None, user_id="ana", subscriptions=joined)
    request = ReadRequest(after=(0, 0, 0), through=log.length, limit=100, max_bytes=10_000)
    page = await store.log.replay(owed, request, NOW)
    assert [message.seq for message in page.messages] == list(range(1, 11))
    assert (await store.inbox.unread(["ana"], NOW))["ana"].total == 10
    assert await store.inbox.mark_read("ana", UpTo(Positions.level(log.length)), NOW) == 10
