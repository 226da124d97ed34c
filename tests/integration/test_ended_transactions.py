"""What a transaction leaves on its connection, for the next one to find there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from sse_adapters.sql.connections import Connections
from sse_adapters.sql.databases import database_for
from tests.support.databases import KINDS
from tests.support.hub_databases import hub_database


class _Left(Exception):
    pass


def one_connection(url: str) -> Connections:
    database, parsed = database_for(url)
    return Connections(database, parsed, count=1, timeout_seconds=10)


async def test_one_that_is_committed_is_not_rolled_back_as_well(tmp_path: Path) -> None:
    async with hub_database("mysql", tmp_path) as url:
        connections = one_connection(url)
        rollbacks = []
        for _ in range(3):
            async with connections.writing() as connection:
                status = await connection.execute(text("SHOW SESSION STATUS LIKE 'Com_rollback'"))
                rollbacks.append(status.one()[1])
        await connections.close()
        assert rollbacks == [rollbacks[0]] * 3


@pytest.mark.parametrize("kind", KINDS)
async def test_one_that_is_left_by_an_error_is_undone_and_holds_nothing(kind: str, tmp_path: Path) -> None:
    async with hub_database(kind, tmp_path) as url:
        connections, others = one_connection(url), one_connection(url)
        raise_removals = text("UPDATE app_sse_log SET removals = removals + 1")
        for begin in (connections.writing, connections.reading):
            with suppress(_Left):
                async with begin() as connection:
                    await connection.execute(raise_removals)
                    raise _Left
            async with others.writing() as connection:  # it does not wait for the other
                await connection.execute(raise_removals)
        async with connections.reading() as connection:
            assert (await connection.execute(text("SELECT removals FROM app_sse_log"))).scalar() == 2
        for each in (connections, others):
            await each.close()
