"""Two nodes on one database, with no bus between them: each learns of the other's doings by the tick."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import cycle
from pathlib import Path

import pytest

from sse_adapters.sql.migrate import upgrade
from sse_app import EventStream, HubService, Settings, open_hub
from tests.support.databases import KINDS, fresh_database

SECONDS = 60  # that a test may take: one that misses something would wait for it for ever
USERS = [f"user-{number}" for number in range(12)]


@pytest.fixture(params=["sqlite", *KINDS])
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[HubService, HubService]]:
    async with AsyncExitStack() as stack:
        url = f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}"
        if request.param != "sqlite":
            url = await stack.enter_async_context(fresh_database(request.param))
            await upgrade(url)
        settings = Settings(database_url=url, drain_seconds=0)
        one, other = [await stack.enter_async_context(open_hub(settings)) for _ in range(2)]
        yield one, other


async def seqs_until_end(stream: EventStream) -> list[int]:
    """What the stream is given before the message that tells the end."""
    seqs: list[int] = []
    async for event in stream:
        assert event.message is not None
        if event.event_type == "end":
            break
        seqs.append(event.message.seq or 0)
    return seqs


async def test_joining_and_leaving_elsewhere_take_effect_on_an_open_stream(
    nodes: tuple[HubService, HubService],
) -> None:
    here, there = nodes
    async with asyncio.timeout(SECONDS), here.listen(user_id="ada") as stream:
        await here.send_to_group("team", "too-early", 0, persist=True)
        await there.subscribe("ada", "team")
        await there.send_to_group("team", "from-there", 1, persist=True)
        assert (await anext(stream)).event_type == "from-there", "nothing was sent here since: the tick has found it"
        await there.unsubscribe("ada", "team")
        await here.send_to_group("team", "too-late", 2, persist=True)
        await there.send_to_group("team", "too-late", 3, persist=True)
        await here.send_to_user("ada", "last", 4, persist=True)
        assert (await anext(stream)).event_type == "last"
        await there.subscribe("ada", "team")
        await here.send_to_group("team", "from-here", 5, persist=True)
        assert (await anext(stream)).event_type == "from-here", "nothing was awaited since: the sending has found it"


async def test_no_message_after_a_join_is_missed_while_both_send(nodes: tuple[HubService, HubService]) -> None:
    here, there = nodes

    async def send(hub: HubService) -> None:
        for number in range(60):
            await hub.send_to_group("team", "t", number, persist=True)

    async def join(user: str, hub: HubService, after: int) -> int:
        for _ in range(after):
            await there.send_to_user("nobody", "t", 0, persist=True)
        subscription, _ = await hub.subscribe(user, "team")
        return subscription.joined_after

    async with asyncio.timeout(SECONDS), AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(here.listen(user_id=user)) for user in USERS]
        joins = (
            join(user, hub, n) for n, (user, hub) in enumerate(zip(USERS, cycle([there, there, here]), strict=False))
        )
        first = await next(joins)
        *others, _, _ = await asyncio.gather(*joins, send(here), send(there))
        await there.broadcast("end", None, persist=True)
        given = [await seqs_until_end(stream) for stream in streams]
    history = [entry.message.seq or 0 for entry in (await here.history(USERS[0], group="team", limit=1000)).entries]
    assert given[0] == history
    assert len(history) == 120, "the first one joined before all of them"
    for seqs, after in zip(given, [first, *others], strict=True):
        assert seqs == [seq for seq in history if seq > (after or 0)]
