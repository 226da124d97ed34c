"""Everything that is measured of one database, by one plan."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bench.databases.appends import measure_appends
from bench.databases.figures import AllSends, Figures, Latency, Resumes, Sends
from bench.databases.reads import long_log, measure_resumes, measure_unread, running_hub
from bench.databases.server_cpu import connection_cpu_seconds, seconds_between
from bench.databases.sites import empty_database
from bench.process import Cores
from bench.streams.posting import batch_to_users, send_batches, unread
from bench.streams.targets import user


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything. `transactions` are those of a round, `batch` the messages of a batch, each for another
    user; `short_log` and `long_log` are in messages. One more round than is counted goes before all others.
    """

    append_rounds: int
    transactions: int
    send_rounds: int
    batches: int
    batch: int
    short_log: int
    long_log: int
    unread_rounds: int
    reads: int
    resume_rounds: int
    missed: tuple[int, ...]


class Bench:
    """Measures databases by one plan, the hub on one core; this process is the load. `tell` is told what comes next."""

    def __init__(self, plan: Plan, cores: Cores, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._core = cores.server
        self._tell = tell

    async def measure(self, kind: str) -> Figures:
        """A database of this kind, of which there must be one."""
        plan = self._plan
        self._tell(f"{kind}: appends")
        appends = await measure_appends(kind, rounds=plan.append_rounds, transactions=plan.transactions)
        self._tell(f"{kind}: sends")
        sends = await self._sends(kind)
        self._tell(f"{kind}: logs of {plan.short_log:,} and {plan.long_log:,} messages")
        unread_counts, resumes = await self._reads(kind)
        return Figures(appends=appends, sends=sends, unread=unread_counts, resumes=resumes)

    async def _sends(self, kind: str) -> AllSends:
        """Batches of persisted messages to users who are away, found again by reading their unread counts."""
        plan = self._plan
        rounds = []
        bodies = [batch_to_users(plan.batch, "persisted", persist=True)] * plan.batches
        async with empty_database(kind) as url:
            with running_hub(url, self._core) as server:
                for _ in range(1 + plan.send_rounds):
                    used_before = await connection_cpu_seconds(url)
                    sent = await asyncio.to_thread(send_batches, server, bodies, plan.batch)
                    rounds.append(
                        Sends(
                            messages=plan.batches * plan.batch,
                            seconds=(sent.answered_ns - sent.began_ns) / 1e9,
                            hub_cpu_seconds=sent.server_cpu_seconds,
                            database_cpu_seconds=seconds_between(used_before, await connection_cpu_seconds(url)),
                        )
                    )
                with server.connect() as connection:
                    found = sum(unread(connection, user(number)) for number in range(plan.batch))
        return AllSends(rounds=rounds[1:], sent=sum(each.messages for each in rounds), found=found)

    async def _reads(self, kind: str) -> tuple[dict[str, list[Latency]], dict[int, Resumes]]:
        plan = self._plan
        most = max(plan.missed)
        async with long_log(kind, plan.short_log, most) as short, long_log(kind, plan.long_log, most) as long:
            with running_hub(short, self._core) as short_hub, running_hub(long, self._core) as long_hub:
                self._tell(f"{kind}: unread counts")
                counts = await measure_unread(long, long_hub, rounds=plan.unread_rounds, reads=plan.reads)
                self._tell(f"{kind}: resumes")
                logs = {plan.short_log: (short, short_hub), plan.long_log: (long, long_hub)}
                return counts, await measure_resumes(logs, missed=plan.missed, rounds=plan.resume_rounds)
