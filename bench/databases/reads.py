"""Reading a long log: one user's unread counts, and a stream that resumes.

What is missed lies in the log's end, one message in fifty among those of everybody else; the reader has quiet groups,
which have to be looked through all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, insert, update
from sqlalchemy.ext.asyncio import create_async_engine

from bench.databases.figures import Latency, Resumes
from bench.databases.long_log import DATA, OWN_GROUPS, LongLog
from bench.databases.sites import empty_database
from bench.process import MeasuredServer
from bench.streams.figures import percentile
from bench.streams.posting import RefusedError, unread
from bench.streams.targets import API_PREFIX, SSE_HUB
from sse_adapters.sql import SqlStore, open_sql_store, schema
from sse_adapters.sql.rows import from_subscription
from sse_domain.cursor import encode_level
from sse_domain.errors import StoreUnavailable
from sse_domain.subscription import Subscription
from tests.support.sql import query

FROM_THE_STORE = "store"
OVER_HTTP = "HTTP"
READER = "reader"
_APART = 50  # it divides the distance between broadcasts, which are among what is missed
_RESUME_SECONDS = 60.0
_SEED = 20_260_101
_PIECE_BYTES = 65_536
_MARK = DATA.encode()  # in the frame of each message, and in no other


@asynccontextmanager
async def long_log(kind: str, messages: int, most_missed: int) -> AsyncIterator[str]:
    """The URL of a database with a log of so many messages that ends now, the reader's among them."""
    beginning = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=messages)
    log = LongLog(messages, beginning=beginning)
    async with empty_database(kind) as url:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.run_sync(log.make)
            await connection.run_sync(_put_reader_in, start_of_missed(messages, most_missed))
        await engine.dispose()
        if kind == "postgresql":
            await query(url, "VACUUM")  # as its autovacuum would before long
        yield url


def start_of_missed(messages: int, missed: int) -> int:
    """The seq in a log of so many messages beyond which just so many are to the reader."""
    return messages - _APART * missed


@contextmanager
def running_hub(url: str, core: int) -> Iterator[MeasuredServer]:
    """`sse-hub serve` on a database, alone on a core."""
    with (
        TemporaryDirectory(prefix="sse-bench-") as name,
        MeasuredServer(SSE_HUB.command, {"SSE_DATABASE_URL": url}, Path(name), core) as server,
    ):
        yield server


async def measure_unread(url: str, server: MeasuredServer, *, rounds: int, reads: int) -> dict[str, list[Latency]]:
    """In every round other users' counts, one after the other: from the store, and the same over HTTP from a server on
    the same database.
    """
    users = Random(_SEED).sample(range(LongLog().users), (1 + rounds) * reads)
    latencies: dict[str, list[Latency]] = {FROM_THE_STORE: [], OVER_HTTP: []}
    async with open_sql_store(url) as store:
        for warm in range(1 + rounds):
            names = [f"user-{number}" for number in users[warm * reads : (warm + 1) * reads]]
            from_store = await _from_store(store, names)
            over_http = await asyncio.to_thread(_over_http, server, names)
            if warm:
                latencies[FROM_THE_STORE].append(from_store)
                latencies[OVER_HTTP].append(over_http)
    return latencies


async def measure_resumes(
    logs: Mapping[int, tuple[str, MeasuredServer]], *, missed: Sequence[int], rounds: int
) -> dict[int, Resumes]:
    """Resume a stream on each of two logs, by their messages and the shorter first, in turns."""
    epochs = {
        messages: (await query(url, "SELECT epoch FROM app_sse_log"))[0][0] for messages, (url, _) in logs.items()
    }
    resumes = {}
    for number in missed:
        took: dict[int, list[float]] = {messages: [] for messages in logs}
        for warm in range(1 + rounds):
            for messages, (_, server) in logs.items():
                cursor = encode_level(start_of_missed(messages, number), epochs[messages])
                seconds = await asyncio.to_thread(_resume, server, cursor, number)
                if warm:
                    took[messages].append(seconds * 1000)
        short, long = took.values()
        resumes[number] = Resumes(short=short, long=long)
    return resumes


async def _from_store(store: SqlStore, user_ids: Sequence[str]) -> Latency:
    took, failed = [], 0
    for user_id in user_ids:
        began = time.perf_counter()
        try:
            await store.inbox.unread(user_id, datetime.now(UTC))
        except StoreUnavailable:
            failed += 1
        took.append(time.perf_counter() - began)
    return _latency(took, failed)


def _over_http(server: MeasuredServer, user_ids: Sequence[str]) -> Latency:
    took, failed = [], 0
    with server.connect() as connection:
        for user_id in user_ids:
            began = time.perf_counter()
            try:
                unread(connection, user_id)
            except RefusedError:
                failed += 1
            took.append(time.perf_counter() - began)
    return _latency(took, failed)


def _put_reader_in(connection: Connection, after: int) -> None:
    """Make every fiftieth message after this one the reader's, but for broadcasts, which are to the reader too."""
    message, subscription = schema.message, schema.subscription
    his = (message.c.id > after) & (message.c.id % _APART == 0) & (message.c.receiver_type != "broadcast")
    connection.execute(update(message).where(his).values(receiver_type="user", receiver_id=READER, group_name=None))
    groups = (
        Subscription(user_id=READER, group=f"quiet-{number}", event_types=None, joined_after=0)
        for number in range(OWN_GROUPS)
    )
    connection.execute(insert(subscription), [from_subscription(each, version=0) for each in groups])


def _resume(server: MeasuredServer, cursor: str, missed: int) -> float:
    """The seconds from the request of a stream with this cursor to the last missed frame."""
    with server.connect() as connection:
        connection.connect()
        server.cpu_seconds_at_rest()
        began = time.perf_counter()
        connection.request("GET", f"{API_PREFIX}/stream?user_id={READER}", headers={"Last-Event-ID": cursor})
        response = connection.getresponse()
        frames, rest = 0, b""
        while frames < missed:
            piece = response.read1(_PIECE_BYTES)
            if not piece or time.perf_counter() - began > _RESUME_SECONDS:
                raise RuntimeError(f"only {frames} of {missed} missed messages came")
            frames += (rest + piece).count(_MARK)
            rest = (rest + piece)[1 - len(_MARK) :]
        return time.perf_counter() - began


def _latency(seconds: Sequence[float], failed: int) -> Latency:
    milliseconds = sorted(each * 1000 for each in seconds)
    return Latency(p50=percentile(milliseconds, 0.50), p99=percentile(milliseconds, 0.99), failed=failed)
