"""Several nodes that write to one database at once, with no bus between them: one log, whatever befalls the database
(SPEC §3.1-3.4, §3.8)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import make_url

from tests.integration.service.database_faults import DatabaseFaults
from tests.integration.service.storm import Storm
from tests.integration.service.storm_checks import check_storm
from tests.mutants import identity_seqs
from tests.support.databases import KINDS
from tests.support.http import open_api
from tests.support.hub_databases import on_each
from tests.support.server_process import SSE_HUB, ServerProcess, run_server
from tests.support.sql import query
from tests.support.tcp_proxy import TcpProxy, run_proxy

# What the database refuses is to be expected, and told by the store.
UNFORESEEN = re.compile(r"ERROR +sse_hub\.(?!store:).*")

Fault = Callable[[], Awaitable[None]]


@asynccontextmanager
async def run_nodes(
    count: int, database_url: str, directory: Path, program: Sequence[str] = SSE_HUB
) -> AsyncIterator[list[ServerProcess]]:
    settings = {"SSE_DATABASE_URL": database_url, "SSE_DATABASE_TIMEOUT_SECONDS": "2"}
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(run_server(directory, settings, (), program)) for _ in range(count)]


class Harm:
    """What may befall the nodes of a storm and their database."""

    def __init__(self, storm: Storm, nodes: list[ServerProcess], database_url: str) -> None:
        self._uptime = storm.uptime
        self._nodes = nodes
        self._database = DatabaseFaults(database_url)
        self._random = Random(len(nodes))

    async def kill_connections(self) -> None:
        await self._database.kill_connections(self._random)

    async def lock_log(self) -> None:
        async with self._database.log_locked():
            await self._uptime.more_refused(1)

    async def deadlock(self) -> None:
        await self._database.deadlock(lambda: any("deadlock" in node.log.lower() for node in self._nodes))

    async def crash(self) -> None:
        node = self._random.choice(self._nodes)
        await node.kill9()
        await self._uptime.more_answered(20)
        await node.restart_on_same_port()

    def all_of(self, faults: list[Fault]) -> Fault:
        """One after the other, in a random order, with some sends between."""

        async def befall() -> None:
            for fault in self._random.sample(faults, len(faults)):
                await self._uptime.more_answered(self._random.randint(10, 40))
                await fault()

        return befall


async def check(storm: Storm, nodes: list[ServerProcess], database_url: str) -> None:
    for node in nodes:
        async with open_api(node.base_url) as api:
            await check_storm(storm, database_url, api)
        assert not UNFORESEEN.findall(node.log)


def without_commit_reply(proxy: TcpProxy) -> Fault:
    async def drop() -> None:
        proxy.drop_commit_reply()
        await proxy.commit_dropped()

    return drop


@on_each(KINDS)
@pytest.mark.parametrize("count", [2, 4])
async def test_nodes_on_one_server_keep_one_log_whatever_befalls_it(
    count: int, database_url: str, tmp_path: Path
) -> None:
    async with run_proxy(database_url) as (proxy, url), run_nodes(count, url, tmp_path) as nodes:
        storm = Storm([node.base_url for node in nodes], restless=True)
        harm = Harm(storm, nodes, database_url)
        often: list[Fault] = [harm.kill_connections, without_commit_reply(proxy)]
        await storm.run(harm.all_of([*often * 6, harm.lock_log, harm.deadlock, harm.crash]))
        await check(storm, nodes, database_url)


async def test_two_nodes_on_one_file_keep_one_log(database_url: str, tmp_path: Path) -> None:
    async with run_nodes(2, f"{database_url}?timeout=1", tmp_path) as nodes:
        storm = Storm([node.base_url for node in nodes], restless=True)
        harm = Harm(storm, nodes, database_url)
        await storm.run(harm.all_of([harm.lock_log, harm.crash] * 2))
        await check(storm, nodes, database_url)


@on_each(KINDS)
async def test_the_check_sees_seqs_that_a_database_draws_from_a_sequence(database_url: str, tmp_path: Path) -> None:
    await query(database_url, identity_seqs.SEQUENCE[make_url(database_url).get_backend_name()])
    async with run_nodes(2, database_url, tmp_path, [str(identity_seqs.__file__)]) as nodes:
        storm = Storm([node.base_url for node in nodes])
        await storm.run(partial(storm.uptime.more_answered, 400))
        with pytest.raises(AssertionError, match=r"missed|has a gap"):
            await check(storm, nodes, database_url)
