"""Outbox: what is put into a caller's transaction exists if and only if that is committed (SPEC §6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, event, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from sse_adapters.sql import SqlStore
from sse_adapters.sql.schema import log, outbox
from sse_domain.errors import EventIdConflict, InvalidInput, StoreUnavailable
from sse_domain.log import Appended, Entry, Outcome
from sse_domain.message import BROADCAST, Draft, Message, Priority, Receiver
from tests.support.clock import ManualClock
from tests.support.stores import STORES, Publisher, Store, open_callers_engine

Transaction = AsyncSession | AsyncConnection

ANA = Receiver.user("ana")
DRAFT = Draft(receiver=ANA, event_type="note", data=b'{"a": 1}', persist=True)

SQL = [name for name in STORES if name != "memory"]
SERVERS = [name for name in SQL if name != "sqlite"]
# SQLite has one writer at a time, so there a transaction that has put something in holds up everybody else's.
MANY_WRITERS = [name for name in STORES if name != "sqlite"]


@pytest.fixture
async def engine(store: Store, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    async with open_callers_engine(store, tmp_path) as engine:
        yield engine


@pytest.fixture(params=["session", "connection"])
async def caller(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncIterator[Transaction]:
    """What callers put into: nothing of it has begun."""
    async with AsyncSession(engine) if request.param == "session" else engine.connect() as transaction:
        yield transaction


async def put(store: Store, caller: object, *event_ids: str, draft: Draft = DRAFT, may_repeat: bool = False) -> None:
    for event_id in event_ids:
        await store.outbox.put(Entry(draft, event_id, may_repeat), caller, lambda: None)


async def relay_all(store: Store, clock: ManualClock, limit: int = 100) -> list[Appended]:
    """Everything that waits, in as many relays as it takes."""
    moved: list[Appended] = []
    while await store.outbox.waiting():
        appended, head = await store.outbox.relay(limit, clock())
        assert 0 < len(appended) <= limit
        assert head == await store.log.head()
        moved += appended
    return moved


async def ids_in_log(store: Store) -> list[str]:
    """Of all messages, by seq, which must be dense."""
    messages = await store.log.read(0, 1_000)
    assert [message.seq for message in messages] == list(range(1, len(messages) + 1))
    assert (await store.log.head()).seq == len(messages)
    return [message.event_id for message in messages]


async def test_an_empty_outbox_has_nothing_to_relay(store: Store, clock: ManualClock) -> None:
    assert not await store.outbox.waiting()
    assert (await store.outbox.relay(10, clock())) == ([], await store.log.head())
    assert await ids_in_log(store) == []


async def test_what_is_committed_is_in_the_log_once_and_in_order(
    store: Store, caller: Transaction, publish: Publisher, clock: ManualClock
) -> None:
    await publish(ANA, event_id="before")
    await put(store, caller, "a", "b", "c")
    assert not await store.outbox.waiting()
    await caller.commit()
    assert await store.outbox.waiting()
    assert await ids_in_log(store) == ["before"]
    moved = await relay_all(store, clock)
    assert [(outcome, message.event_id, message.seq) for outcome, message in moved] == [
        (Outcome.NEW, "a", 2),
        (Outcome.NEW, "b", 3),
        (Outcome.NEW, "c", 4),
    ]
    assert not await store.outbox.waiting()
    assert (await store.outbox.relay(10, clock())) == ([], await store.log.head())
    await publish(ANA, event_id="after")
    assert await ids_in_log(store) == ["before", "a", "b", "c", "after"]


@pytest.mark.parametrize(
    "receiver", [ANA, Receiver.client("phone"), Receiver.group("Ünïcode 群"), BROADCAST], ids=lambda r: r.type
)
async def test_a_message_is_what_was_put_in_as_of_its_relay(
    store: Store, caller: Transaction, clock: ManualClock, receiver: Receiver
) -> None:
    data = '{"b": 1.0, "a": "\\u0000 é 😀"}'.encode()
    draft = Draft(receiver=receiver, event_type="a.b", data=data, persist=True, priority=Priority.URGENT, ttl=0.25)
    await put(store, caller, "e", draft=draft)
    await caller.commit()
    clock.advance(seconds=3600)
    [(_, message)] = await relay_all(store, clock)
    assert message == Message(
        event_id="e",
        seq=1,
        event_type="a.b",
        receiver=receiver,
        priority=Priority.URGENT,
        data=data,
        created_at=clock(),
        ttl=0.25,
        expire_at=clock() + timedelta(milliseconds=250),
    )
    assert await store.log.read(0, 10) == [message]


async def test_the_limit_bounds_what_is_moved_at_once(store: Store, caller: Transaction, clock: ManualClock) -> None:
    await put(store, caller, "a", "b", "c", "d", "e")
    await caller.commit()
    moved = [len((await store.outbox.relay(2, clock())).appended) for _ in range(4)]
    assert moved == [2, 2, 1, 0]
    assert await ids_in_log(store) == ["a", "b", "c", "d", "e"]


# What is not committed


@pytest.mark.parametrize("end", ["rollback", "close"])
async def test_what_is_not_committed_never_was(
    store: Store, caller: Transaction, publish: Publisher, clock: ManualClock, end: str
) -> None:
    await put(store, caller, "a", "b")
    await getattr(caller, end)()
    assert await relay_all(store, clock) == []
    await publish(ANA, event_id="after")
    assert await ids_in_log(store) == ["after"]


async def test_transactions_one_after_another_are_each_for_themselves(
    store: Store, caller: Transaction, clock: ManualClock
) -> None:
    await put(store, caller, "a")
    await caller.rollback()
    await put(store, caller, "b")
    await caller.commit()
    await put(store, caller, "c")
    await caller.rollback()
    await caller.commit()
    await put(store, caller, "d")
    await caller.commit()
    await relay_all(store, clock)
    assert await ids_in_log(store) == ["b", "d"]


# Each letter is put in; ( begins a savepoint, ) releases the last one and ! rolls it back.
@pytest.mark.parametrize(
    ("steps", "committed"),
    [
        ("a(b)c", "abc"),
        ("a(b!c", "ac"),
        ("a(b(c)d!e", "ae"),
        ("a(b(c!d)e", "abde"),
        ("a(b(c!d!e", "ae"),
        ("a(b)(c!(d)e", "abde"),
        ("a((b)c)(d!", "abc"),
        ("(a!b", "b"),
        ("(a)b", "ab"),
        ("((a)b!c", "c"),
        ("((a!b)c", "bc"),
        ("(!a(b!(c)", "ac"),
    ],
)
async def test_a_savepoint_that_is_rolled_back_takes_what_came_after_it(
    store: Store, caller: Transaction, clock: ManualClock, steps: str, committed: str
) -> None:
    for _ in range(2):  # the second time on a connection that is known already
        savepoints = []
        for step in steps:
            match step:
                case "(":
                    savepoints.append(await caller.begin_nested())
                case ")":
                    await savepoints.pop().commit()
                case "!":
                    await savepoints.pop().rollback()
                case event_id:
                    await put(store, caller, event_id, may_repeat=True)
        await caller.commit()
    await relay_all(store, clock)
    assert await ids_in_log(store) == list(committed)


@pytest.mark.parametrize("other", [None, "session", Session()], ids=lambda other: type(other).__name__)
async def test_only_asynchronous_sessions_and_connections_are_transactions(store: Store, other: object) -> None:
    with pytest.raises(InvalidInput) as raised:
        await put(store, other, "a")
    assert raised.value.code == "invalid_transaction"


async def test_whoever_put_something_in_is_told_of_the_commit(store: Store, caller: Transaction) -> None:
    told: list[str] = []

    async def put_and_listen(event_id: str) -> None:
        await store.outbox.put(Entry(DRAFT, event_id, may_repeat=False), caller, lambda: told.append(event_id))

    await put_and_listen("a")
    await put_and_listen("b")
    savepoint = await caller.begin_nested()
    await put_and_listen("c")
    await savepoint.commit()
    assert told == []
    await caller.commit()
    assert told
    told.clear()
    await caller.connection() if isinstance(caller, AsyncSession) else await caller.begin()
    await caller.commit()
    assert told == []
    await put_and_listen("d")
    await caller.commit()
    assert told == ["d"]


# Event ids


async def test_an_event_id_that_the_log_has_is_settled_at_once(
    store: Store, caller: Transaction, publish: Publisher, clock: ManualClock
) -> None:
    await publish(ANA, data=DRAFT.data, event_id="sent")
    await put(store, caller, "a")
    await put(store, caller, "sent", may_repeat=True)
    with pytest.raises(EventIdConflict, match="'sent'"):
        await put(store, caller, "sent", draft=replace(DRAFT, data=b"2"), may_repeat=True)
    await put(store, caller, "b")  # nothing is wrong with the transaction
    await caller.commit()
    assert [(outcome, message.event_id) for outcome, message in await relay_all(store, clock)] == [
        (Outcome.NEW, "a"),
        (Outcome.NEW, "b"),
    ]
    assert await ids_in_log(store) == ["sent", "a", "b"]


async def test_an_event_id_that_is_used_meanwhile_is_settled_by_the_relay(
    store: Store, caller: Transaction, engine: AsyncEngine, clock: ManualClock
) -> None:
    await put(store, caller, "same", "other", "same", "last", may_repeat=True)
    await caller.commit()
    entries = [Entry(DRAFT, "same", may_repeat=True), Entry(replace(DRAFT, ttl=5), "other", may_repeat=True)]
    await store.log.append(entries, clock())
    moved = await relay_all(store, clock)
    assert [(outcome, message.seq) for outcome, message in moved] == [
        (Outcome.REPEATED, 1),
        (Outcome.CONFLICT, 2),
        (Outcome.REPEATED, 1),
        (Outcome.NEW, 3),
    ]
    assert await ids_in_log(store) == ["same", "other", "last"]


async def test_within_the_outbox_the_first_use_of_an_event_id_counts(
    store: Store, caller: Transaction, clock: ManualClock
) -> None:
    await put(store, caller, "a", "a", may_repeat=True)
    await put(store, caller, "a", draft=replace(DRAFT, data=b"2"), may_repeat=True)
    await put(store, caller, "A", may_repeat=True)
    await caller.commit()
    outcomes = [outcome for outcome, _ in await relay_all(store, clock, limit=2)]
    assert outcomes == [Outcome.NEW, Outcome.REPEATED, Outcome.CONFLICT, Outcome.NEW]
    assert await ids_in_log(store) == ["a", "A"]


# Faults, and several at once


@pytest.mark.parametrize("steps", range(40))
async def test_a_cancelled_relay_loses_nothing_and_doubles_nothing(
    store: Store, caller: Transaction, clock: ManualClock, steps: int
) -> None:
    await put(store, caller, "a", "b", "c")
    await caller.commit()
    relaying = asyncio.create_task(store.outbox.relay(2, clock()))
    for _ in range(steps):
        await asyncio.sleep(0)
    relaying.cancel()
    await asyncio.gather(relaying, return_exceptions=True)
    await relay_all(store, clock)
    assert await ids_in_log(store) == ["a", "b", "c"]


@contextmanager
def failing_removal(store: SqlStore) -> Iterator[None]:
    """While this lasts, the hub's transactions fail once they have removed something: all is done but the commit."""

    def fail(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("DELETE"):
            raise StoreUnavailable("failed")

    with ExitStack() as stack:
        for writers in {store._connections._writers, store._connections._appender}:
            event.listen(writers.sync_engine, "after_cursor_execute", fail)
            stack.callback(event.remove, writers.sync_engine, "after_cursor_execute", fail)
        yield


@pytest.mark.parametrize("store", SQL, indirect=True)
async def test_a_relay_that_fails_at_its_end_loses_nothing_and_doubles_nothing(
    store: SqlStore, caller: Transaction, publish: Publisher, clock: ManualClock
) -> None:
    await put(store, caller, "a", "b", "c")
    await caller.commit()
    with failing_removal(store), pytest.raises(StoreUnavailable, match="failed"):
        await store.outbox.relay(2, clock())
    await publish(ANA, event_id="between")
    await relay_all(store, clock)
    assert await ids_in_log(store) == ["between", "a", "b", "c"]


@pytest.mark.parametrize("store", SQL, indirect=True)
async def test_of_several_relays_at_once_one_moves_each_message(
    store: SqlStore, engine: AsyncEngine, clock: ManualClock
) -> None:
    event_ids = [f"e{number}" for number in range(30)]
    other = SqlStore(store._url)

    async def commit_one_by_one() -> None:
        for event_id in event_ids:
            async with AsyncSession(engine) as session, session.begin():
                await put(store, session, event_id)

    async def relay_while(committing: asyncio.Task[None], by: SqlStore) -> list[str]:
        moved = []
        while not committing.done() or await by.outbox.waiting():
            moved += [message.event_id for _, message in (await by.outbox.relay(3, clock())).appended]
        return moved

    try:
        committing = asyncio.create_task(commit_one_by_one())
        moved = await asyncio.gather(*(relay_while(committing, by) for by in (store, store, other, other)))
        await committing
    finally:
        await other.close()
    assert sorted(chain.from_iterable(moved)) == sorted(event_ids)
    assert await ids_in_log(store) == event_ids


@pytest.mark.parametrize("store", SERVERS, indirect=True)
async def test_a_relay_looks_at_what_waits_only_when_no_other_can_be_at_it(
    store: SqlStore, caller: Transaction, engine: AsyncEngine, clock: ManualClock
) -> None:
    await put(store, caller, "a", "b")
    await caller.commit()
    at_the_lock = asyncio.Event()

    def notice(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if "FOR UPDATE" in statement or statement.startswith("UPDATE"):
            at_the_lock.set()

    event.listen(store._connections._appender.sync_engine, "before_cursor_execute", notice)
    async with engine.begin() as other:  # takes the log's lock and both messages, as another relay would
        await other.execute(update(log).values(last_seq=log.c.last_seq))
        relaying = asyncio.create_task(store.outbox.relay(10, clock()))
        await at_the_lock.wait()
        await other.execute(delete(outbox))
    assert (await relaying).appended == []
    assert await ids_in_log(store) == []


async def test_relays_and_appends_share_one_dense_log(
    store: Store, caller: Transaction, publish: Publisher, clock: ManualClock
) -> None:
    put_in = [f"put-{number}" for number in range(10)]
    await put(store, caller, *put_in)
    await caller.commit()
    relays = (store.outbox.relay(1, clock()) for _ in range(10))
    appends = (publish(ANA, event_id=f"sent-{number}") for number in range(10))
    await asyncio.gather(*(call for pair in zip(relays, appends, strict=True) for call in pair))
    in_log = await ids_in_log(store)
    assert len(in_log) == 20
    assert [event_id for event_id in in_log if event_id in put_in] == put_in


@pytest.mark.parametrize("store", MANY_WRITERS, indirect=True)
async def test_a_transaction_left_open_delays_nobody_else(
    store: Store, caller: Transaction, engine: AsyncEngine, publish: Publisher, clock: ManualClock
) -> None:
    await put(store, caller, "long-1", "long-2")
    for number in range(3):
        async with AsyncSession(engine) as session, session.begin():
            await put(store, session, f"short-{number}")
        await relay_all(store, clock)
        await publish(ANA, event_id=f"sent-{number}")
    await put(store, caller, "long-3")
    await caller.commit()
    await relay_all(store, clock)
    sent = [event_id for number in range(3) for event_id in (f"short-{number}", f"sent-{number}")]
    assert await ids_in_log(store) == [*sent, "long-1", "long-2", "long-3"]
