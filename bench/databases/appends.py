"""The same messages put into the log by the database's own driver and by the application, in turns."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import count

from bench.databases.figures import Appending, Appends
from bench.databases.own_inserts import Insert, Row, native_time, own_ways
from bench.databases.sites import empty_database
from bench.streams.targets import payload
from sse_adapters.sql.rows import from_message
from sse_adapters.sql.schema import message
from sse_app.container import build_container
from sse_app.publisher import EventIds
from sse_app.sequencer import COMMIT_ENTRIES, Sequencer
from sse_app.settings import Settings
from sse_domain.log import Entry
from sse_domain.message import Draft, Receiver, accept
from tests.support.sql import query

ONE_BY_ONE = "one by one"
IN_BATCHES = f"{COMMIT_ENTRIES} at a time"
USERS = 1000
_SUBMITTED_AT_ONCE = {ONE_BY_ONE: 1, IN_BATCHES: COMMIT_ENTRIES}
# While a transaction is committed, the next one gathers.
_IN_FLIGHT = 2 * COMMIT_ENTRIES

_CREATED_AT = message.c.keys().index("created_at")

_Way = Callable[[Sequence[Entry]], Callable[[], Awaitable[object]]]
"""Prepares messages for its way into the log, and gives what then puts them there."""


async def measure_appends(kind: str, *, rounds: int, transactions: int) -> Appends:
    """Every way has a database of its own, and puts as many messages into it in every round; each round is of so many
    transactions.
    """
    async with AsyncExitStack() as stack:
        own: dict[str, _Way] = {}
        for name, open_way in own_ways(kind).items():
            url = await stack.enter_async_context(empty_database(kind))
            own[name] = _by_itself(kind, await stack.enter_async_context(open_way(url, COMMIT_ENTRIES)))
        sequencer: dict[str, _Way] = {}
        urls = {}
        for name, size in _SUBMITTED_AT_ONCE.items():
            urls[name] = await stack.enter_async_context(empty_database(kind))
            hub = build_container(Settings(database_url=urls[name]))
            await stack.enter_async_context(hub.node())
            sequencer[name] = _submitted(hub.sequencer(), size)
        ways = [*own.values(), *sequencer.values()]
        timed: list[list[Appending]] = [[] for _ in ways]
        for warm in range(1 + rounds):
            for way, figures in zip(ways, timed, strict=True):
                appending = await _time(way, _entries(transactions * COMMIT_ENTRIES))
                if warm:
                    figures.append(appending)
        return Appends(
            own=dict(zip(own, timed, strict=False)),
            sequencer=dict(zip(sequencer, timed[len(own) :], strict=True)),
            messages_a_transaction={name: await _messages_a_transaction(url) for name, url in urls.items()},
        )


async def _time(way: _Way, entries: Sequence[Entry]) -> Appending:
    put = way(entries)
    # What was garbage before is not this way's to collect.
    gc.collect()
    cpu_before, began = time.process_time(), time.perf_counter()
    await put()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_before
    return Appending(messages=len(entries), seconds=seconds, cpu_seconds=cpu_seconds)


def _entries(number: int) -> list[Entry]:
    drafts = [
        Draft(receiver=Receiver.user(f"user-{user}"), event_type="bench", data=payload(f"user-{user:03}"), persist=True)
        for user in range(USERS)
    ]
    event_ids, now = EventIds(), datetime.now(UTC)
    return [Entry(drafts[each % USERS], event_ids.new(now), may_repeat=False) for each in range(number)]


def _by_itself(kind: str, insert: Insert) -> _Way:
    """Through the database's own driver, so many in each transaction as the sequencer takes."""
    seqs = count(1)

    def prepare(entries: Sequence[Entry]) -> Callable[[], Awaitable[None]]:
        batches = [
            [_row(kind, entry, next(seqs), datetime.now(UTC)) for entry in batch]
            for batch in _cut(entries, COMMIT_ENTRIES)
        ]

        async def put() -> None:
            for batch in batches:
                await insert(batch)

        return put

    return prepare


def _submitted(sequencer: Sequencer, size: int) -> _Way:
    """By senders who each submit so many at once, as soon as what they submitted before is answered."""

    def prepare(entries: Sequence[Entry]) -> Callable[[], Awaitable[object]]:
        submissions = iter(_cut(entries, size))

        async def send() -> None:
            for submission in submissions:
                await sequencer.submit(submission)

        return lambda: asyncio.gather(*(send() for _ in range(_IN_FLIGHT // size)))

    return prepare


def _cut(entries: Sequence[Entry], size: int) -> list[Sequence[Entry]]:
    return [entries[first : first + size] for first in range(0, len(entries), size)]


def _row(kind: str, entry: Entry, seq: int, now: datetime) -> Row:
    """What the store would write, as the driver takes it."""
    values = list(from_message(accept(entry.draft, event_id=entry.event_id, seq=seq, now=now)))
    values[_CREATED_AT] = native_time(kind, now)
    return tuple(values)


async def _messages_a_transaction(url: str) -> float:
    """All of one transaction were created at the same time, and no others."""
    counts = await query(url, f"SELECT 1.0 * count(*) / count(DISTINCT created_at) FROM {message.name}")  # noqa: S608
    return float(counts[0][0])
