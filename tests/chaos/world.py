"""The world that faults befall: nodes on one database, clients of every kind, and a beginning and an end to it all."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tests.chaos.checker import check, told
from tests.chaos.disconnecter import Disconnecter
from tests.chaos.inbox_clients import Counter, Joiner, Marker, count_unread, list_messages, mark_read
from tests.chaos.log_at_end import read_log
from tests.chaos.readers import BEAT_SECONDS, ChaosReader, Ways
from tests.chaos.record import BROADCAST, Mark, Record
from tests.chaos.run import PAUSE_SECONDS, Caller, Run, open_caller
from tests.chaos.senders import Load, Sender, send_last, send_many
from tests.support.patience import within
from tests.support.server_process import SSE_HUB, ServerProcess

START_SECONDS = 60.0
# What the database refuses is to be expected, and told by the store.
UNFORESEEN = re.compile(r"ERROR +sse_hub\.(?!store:).*|Traceback")
BACKLOG = 250
TELL_SECONDS = 10.0  # within which streams are told counts that have changed

USERS = ("ada", "bob", "eve", "sid", "vera", "zoe")
LOAD = Load(
    receivers=(
        BROADCAST,
        BROADCAST,
        *(("user", user) for user in USERS),
        *(("client", client) for client in ("ada-phone", "bob-tab")),
        *(("group", group) for group in ("team", "club", "lobby")),
        ("user", "sid"),
    ),
    bulky=(("user", "sid"),),
)
# Zoe has no stream.
WAYS = (
    Ways(name="ada", user_id="ada", unread=True),
    Ways(name="ada's phone", user_id="ada", client_id="ada-phone", restless=60),
    Ways(name="bob", user_id="bob", client_id="bob-tab", groups=("lobby",), restless=40, picky=True),
    Ways(name="bob's news", user_id="bob", event_types=("news", "alert"), restless=100),
    Ways(name="eve", user_id="eve", replay="unread", unread=True, restless=150),
    Ways(name="sid", user_id="sid", slow=12),
    Ways(name="guest", replay="none", groups=("lobby", "team")),
    *(Ways(name=f"guest {n}", client_id=f"guest-{n}", replay="none", stays=False) for n in range(3)),
    Ways(name="una", user_id="una", unread=True, restless=300),
    Ways(name="vera", user_id="vera", comes_anew=True, restless=30, stays=False),
)

Harm = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who takes part. Users with a `backlog` have so much unread that it is worth keeping their counts. When nothing
    more happens, every reader that stays is given `end_seconds` to come to its end."""

    ways: Sequence[Ways] = WAYS
    load: Load = LOAD
    backlog: Sequence[str] = ("una",)
    members: Sequence[tuple[str, str]] = tuple((user, group) for user in ("ada", "bob") for group in ("team", "club"))
    marked: Sequence[str] = ("ada", "eve", "zoe", "una")
    counted: Sequence[str] = (*USERS, "una")
    end_seconds: float = 30.0


@dataclass(eq=False)
class World:
    """`play` once, then `check`."""

    nodes: list[ServerProcess]
    database_url: str
    directory: Path
    cast: Cast
    run: Run
    readers: list[ChaosReader] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.dice = self.run.random("harm")

    @property
    def record(self) -> Record:
        return self.run.record

    async def play(self, harm: Harm) -> None:
        """Until the harm is done to this world, which leaves all nodes up, and everybody has all that is theirs."""
        run, cast, begun = self.run, self.cast, self.run.clock.now()
        await self._send_backlog()
        self.readers = [ChaosReader(run, ways) for ways in cast.ways]
        async with asyncio.TaskGroup() as tasks:
            reading = [tasks.create_task(reader.run()) for reader in self.readers]
            async with within(START_SECONDS):
                for reader in self.readers:
                    await reader.started.wait()
            actors: tuple[Sender | Joiner | Marker | Counter | Disconnecter, ...] = (
                *(Sender(run, cast.load, number) for number in range(cast.load.senders)),
                Joiner(run, cast.members),
                Marker(run, cast.marked, self.readers),
                Counter(run, cast.counted),
                Disconnecter(run, self.readers),
            )
            acting = [tasks.create_task(actor.run()) for actor in actors]
            await run.progress.more_answered(50)
            await harm(self)
            await run.progress.more_answered(100)
            await run.progress.end()
            await asyncio.gather(*acting)
            await self._come_to_the_end()
            for task in reading:
                task.cancel()
        self.record.sends = [send for send in self.record.sends if send.attempts]
        self.record.disconnects = [command for command in self.record.disconnects if command.attempts]
        self.seconds = run.clock.now() - begun

    async def _send_backlog(self) -> None:
        async with open_caller(self.run) as caller:
            for user_id in self.cast.backlog:
                await send_many(self.run, caller, ("user", user_id), BACKLOG)

    async def _come_to_the_end(self) -> None:
        """The checker says what somebody lacks, so nobody is waited for without end."""
        await send_last(self.run)
        with suppress(TimeoutError):
            async with within(self.cast.end_seconds):
                for reader in self.readers:
                    if reader.ways.stays:
                        await reader.has_all.wait()
        await self._mark_for_those_who_are_told()
        async with open_caller(self.run) as caller:
            for node in self.run.nodes:
                for user_id in self.cast.counted:
                    await count_unread(self.run, caller, user_id, node)
                    await list_messages(self.run, caller, user_id, node)
                info = await caller.get(node, "/info")
                cache = None if info is None else info["unread_cache"]
                assert not cache or cache["drift"] == 0, info
            with suppress(TimeoutError):
                async with within(TELL_SECONDS):
                    await self._until_all_are_told(caller)

    async def _mark_for_those_who_are_told(self) -> None:
        random = self.run.random("end")
        async with open_caller(self.run) as caller:
            for user_id in {reader.ways.user_id for reader in self.readers if reader.ways.unread}:
                answered = [
                    send.accepted.answer["event_id"]
                    for send in self.record.sends
                    if send.to == ("broadcast", "") and send.accepted is not None and send.accepted.answer is not None
                ]
                await mark_read(self.run, caller, Mark(user_id=user_id or "", event_ids=answered[-3:]), random)

    async def _until_all_are_told(self, caller: Caller) -> None:
        """Until each stream that wants to be told counts was last told what they are now."""
        for reader in self.readers:
            while not await self._is_told(caller, reader):  # noqa: ASYNC110  (found only by asking)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _is_told(self, caller: Caller, reader: ChaosReader) -> bool:
        user_id = reader.ways.user_id
        if not reader.ways.unread or user_id is None:
            return True
        return reader.told_unread == await count_unread(self.run, caller, user_id, self.run.nodes[0])

    async def check(self) -> None:
        """Raises AssertionError with what is wrong, and with the place of the record, which is kept."""
        self.record.log = await read_log(self.database_url)
        violations = check(self.record)
        for node in self.nodes:
            assert not UNFORESEEN.findall(node.log), node.log
        if violations:
            path = self.directory / "record.json"
            self.record.save(path)
            logs = "".join(f"\n--- {node.base_url}\n{node.log[-3000:]}" for node in self.nodes)
            shown = "\n".join(told(violations))
            raise AssertionError(f"{len(violations)} violations, seed {self.record.seed}, {path}:\n{shown}{logs}")


@asynccontextmanager
async def open_world(
    count: int,
    database_url: str,
    directory: Path,
    *,
    seed: int = 0,
    settings: Mapping[str, str] | None = None,
    programs: Sequence[Sequence[str]] = (SSE_HUB,),
    redis_url: str = "",
    workers: int = 1,
    cast: Cast | None = None,
) -> AsyncIterator[World]:
    """Nodes on this database and Redis, if any, up and ready, that run these programs in turn; killed at the end of the
    block if they still run then. The Redis is the caller's own."""
    usual = {
        "SSE_DATABASE_URL": database_url,
        "SSE_DATABASE_TIMEOUT_SECONDS": "2",
        "SSE_DATABASE_CONNECTIONS": "3",
        "SSE_HEARTBEAT_SECONDS": str(BEAT_SECONDS),
        "SSE_DRAIN_SECONDS": "0.5",
        "SSE_RETRY_MS": "100",
        "SSE_CLEANUP_SECONDS": "1",
        "SSE_STREAM_BUFFER_MESSAGES": "32",
    }
    if redis_url:
        usual |= {"SSE_REDIS_URL": redis_url, "SSE_REDIS_PREFIX": f"sse_test_{secrets.token_hex(8)}"}
    settings = usual | dict(settings or {})
    arguments = ["--workers", str(workers)]
    nodes = [ServerProcess(directory, settings, arguments, program) for program in islice(cycle(programs), count)]
    try:
        await asyncio.gather(*(node.start() for node in nodes))
        if workers > 1:
            await asyncio.gather(*(node.logged(f"all {workers} workers serve") for node in nodes))
        run = Run([node.base_url for node in nodes], seed, bus=bool(redis_url), one_process=workers == 1)
        yield World(nodes, database_url, directory, cast or Cast(), run)
    finally:
        await asyncio.gather(*(node.stop() for node in nodes))
