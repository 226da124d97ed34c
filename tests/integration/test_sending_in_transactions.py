"""`hub.outbox`: an application's own transactions, a hub on the same database, and its streams (SPEC §6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dependency_injector import providers
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from sse_adapters.sql import SqlStore
from sse_app import HubService, Settings
from sse_app.container import Container, build_container
from sse_domain.errors import EventIdConflict
from sse_domain.message import Priority
from tests.support.stores import STORES, Store, open_callers_engine

orders = Table("application_orders", MetaData(), Column("id", Integer, primary_key=True), Column("amount", Integer))


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with STORES[request.param](tmp_path) as store:
        yield store


@pytest.fixture
async def engine(store: Store, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """The application's, with a table of its own."""
    async with open_callers_engine(store, tmp_path) as engine:
        async with engine.begin() as connection:
            await connection.run_sync(orders.create)
        yield engine
        async with engine.begin() as connection:
            await connection.run_sync(orders.drop)


@pytest.fixture
def container(store: Store) -> Container:
    container = build_container(Settings(database_url="memory://"))
    container.store.override(providers.Object(store))
    return container


@pytest.fixture
async def hub(container: Container) -> AsyncIterator[HubService]:
    """A hub without the work that recurs: nothing comes by a tick."""
    await container.feed().start()
    yield container.service()
    await container.outbox().stop()
    await container.flow().stop()


async def count(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return (await connection.execute(select(func.count()).select_from(orders))).scalar_one()


async def test_a_stream_is_given_what_a_transaction_sent_right_after_its_commit(
    hub: HubService, engine: AsyncEngine
) -> None:
    async with hub.listen(user_id="ada") as stream:
        for number in range(3):
            async with AsyncSession(engine) as session, session.begin():
                await session.execute(insert(orders).values(amount=number))
                event_id = await hub.outbox(session).send_to_user("ada", "order.placed", {"amount": number})
            event = await anext(stream)
            assert event.message is not None
            assert (event.message.event_id, event.message.seq) == (event_id, number + 1)
            assert (event.event_type, event.data) == ("order.placed", {"amount": number})
            assert (await hub.unread("ada")).total == number + 1
    assert await count(engine) == 3
    assert (await hub.info()).accepted == 3


async def test_a_transaction_that_fails_sends_nothing(hub: HubService, engine: AsyncEngine) -> None:
    async def place_order() -> None:
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(insert(orders).values(amount=1))
            await hub.outbox(session).send_to_user("ada", "order.placed", 1)
            raise ValueError("no such customer")

    async with hub.listen(user_id="ada") as stream:
        with pytest.raises(ValueError, match="customer"):
            await place_order()
        async with engine.begin() as connection:
            await hub.outbox(connection).send_to_user("ada", "last", 2)
        assert (await anext(stream)).event_type == "last"
    assert await count(engine) == 0


async def test_every_way_of_sending_takes_what_the_hubs_own_takes(hub: HubService, engine: AsyncEngine) -> None:
    async with hub.listen(user_id="ada", client_id="phone", groups=["team"]) as stream:
        async with engine.begin() as connection:
            outbox = hub.outbox(connection)
            await outbox.send_to_user("ada", "t", 1, priority=Priority.HIGH, ttl=60)
            await outbox.send_to_client("phone", "t", 2, priority=1)
            await outbox.send_to_group("team", "t", 3, priority=1, persist=True)
            assert await outbox.broadcast("t", 4, priority=1, event_id="mine") == "mine"
        events = [await anext(stream) for _ in range(4)]
    assert [event.data for event in events] == [1, 2, 3, 4]
    first, *_, last = [event.message for event in events]
    assert first is not None
    assert last is not None
    assert (first.ttl, first.priority, last.event_id) == (60, Priority.HIGH, "mine")


async def test_an_event_id_is_sent_once_by_whichever_way(hub: HubService, engine: AsyncEngine) -> None:
    async with hub.listen(user_id="ada") as stream:
        async with engine.begin() as connection:
            await hub.outbox(connection).send_to_user("ada", "t", {"a": 1, "b": 2}, event_id="mine")
        await anext(stream)
        async with engine.begin() as connection:
            await hub.outbox(connection).send_to_user("ada", "t", {"b": 2, "a": 1}, event_id="mine")
            with pytest.raises(EventIdConflict):
                await hub.outbox(connection).send_to_user("ada", "t", 3, event_id="mine")
            await hub.outbox(connection).send_to_user("ada", "last", 4)
        assert (await anext(stream)).event_type == "last"
    receipt = await hub.send_to_user("ada", "t", {"a": 1, "b": 2}, event_id="mine", persist=True)
    assert (receipt.seq, receipt.repeated) == (1, True)


@pytest.fixture
async def cut_off(store: SqlStore) -> AsyncIterator[HubService]:
    """Another process on the same database. It never relays, as if it were killed right after each commit."""
    other = SqlStore(store._url)
    container = build_container(Settings(database_url="memory://"))
    container.store.override(providers.Object(other))
    await container.outbox().stop()
    yield container.service()
    await other.close()


@pytest.mark.parametrize("store", [name for name in STORES if name != "memory"], indirect=True)
@pytest.mark.parametrize("first", ["commit", "start"])
async def test_what_another_process_sent_is_given_by_the_tick_also_if_it_was_before_the_start(
    container: Container, cut_off: HubService, engine: AsyncEngine, first: str
) -> None:
    async def commit() -> None:
        async with AsyncSession(engine) as session, session.begin():
            await cut_off.outbox(session).send_to_user("ada", "t", 1)

    if first == "commit":
        await commit()
    async with container.node() as hub, hub.listen(user_id="ada") as stream:
        if first == "start":
            await commit()
        assert (await anext(stream)).data == 1
