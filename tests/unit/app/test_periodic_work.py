"""The ledger of what was delivered, the janitor, and the drain."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from sse_app.container import build_container
from sse_app.settings import Settings
from sse_domain.errors import StoreUnavailable
from sse_domain.inbox import Delivered, InboxQuery, StatusFilter
from sse_domain.message import Receiver
from tests.unit.app.conftest import FakeClock, Parts, start_parts

PENDING = InboxQuery(user_id="ada", status=StatusFilter.PENDING)
ADA = Receiver.user("ada")


async def test_pending_is_exact_before_the_ledger_is_written_and_after(node: Parts) -> None:
    stream, _ = await node.open(user_id="ada", client_id="phone")
    await node.hub.send_to_user("ada", "t", 1, persist=True)
    inbox = node.container.store().inbox
    assert (await node.hub.messages(PENDING)).entries == []
    assert (await inbox.delivered([ADA])).get(ADA) is None
    await node.container.ledger().flush()
    assert (await inbox.delivered([ADA])).get(ADA).positions == (1, 0, 0)
    stream.leave()
    node.clock.advance(60)
    await node.container.ledger().flush()
    assert (await node.hub.messages(PENDING)).entries == []
    assert (await inbox.delivered([Receiver.client("phone")])).get(Receiver.client("phone")).positions == (1, 0, 0)


async def test_what_could_not_be_recorded_stays_due(node: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, _ = await node.open(user_id="ada")
    await node.hub.send_to_user("ada", "t", 1, persist=True)
    stream.leave()
    ledger, inbox = node.container.ledger(), node.container.store().inbox

    async def refuse(records: dict[Receiver, Delivered]) -> None:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(inbox, "record_delivered", refuse)
        with pytest.raises(StoreUnavailable):
            await ledger.flush()
    recorded = (await ledger.of([ADA])).get(ADA)
    assert recorded is not None
    assert recorded.positions == (1, 0, 0)
    await ledger.flush()
    assert (await inbox.delivered([ADA])).get(ADA).positions == (1, 0, 0)


async def test_presence_tells_who_is_here_and_when_others_were(node: Parts) -> None:
    stream, _ = await node.open(user_id="ada")
    seen = node.clock.now()
    stream.leave()
    node.clock.advance(60)
    await node.open(user_id="bob")
    ada, bob, eve = await node.hub.online(["ada", "bob", "eve"])
    assert (ada.online, ada.last_seen) == (False, seen)
    assert (bob.online, bob.connections, bob.last_seen) == (True, 1, node.clock.now())
    assert (eve.online, eve.last_seen) == (False, None)


async def test_the_janitor_removes_in_batches_what_is_expired_or_old(clock: FakeClock) -> None:
    node = await start_parts(clock, retention_days=1)
    for number in range(1200):
        await node.hub.send_to_user("ada", "t", number, persist=True, ttl=60 if number % 2 else None)
    log = node.container.store().log
    janitor = node.container.janitor()
    clock.advance(60)
    await janitor.run()
    assert len(await log.read(0, 2000)) == 600
    assert (await log.head()).purged_through == 0
    clock.advance(86_400)
    await janitor.run()
    assert await log.read(0, 2000) == []
    assert (await log.head()).purged_through == 1199
    receipt = await node.hub.send_to_user("ada", "t", 0, persist=True)
    assert receipt.seq == 1201


async def test_the_janitor_forgets_when_those_marked_something_who_have_not_for_long(clock: FakeClock) -> None:
    node = await start_parts(clock, retention_days=1)
    start, stamps = clock.now(), node.container.store().stamps
    await node.hub.broadcast("t", 1, persist=True)
    for number in range(1200):
        await node.hub.mark_read(f"user-{number}", everything=True)
    clock.advance(86_400)
    await node.container.janitor().run()
    assert len(await stamps.marked_since(start, 2000)) == 1200
    clock.advance(0.000001)
    await node.container.janitor().run()
    assert await stamps.marked_since(start, 2000) == []


async def test_draining_ends_every_stream_with_its_own_time_to_return(clock: FakeClock) -> None:
    node = await start_parts(clock, drain_seconds=0)
    writers = [(await node.open(user_id=f"u{number}"))[1] for number in range(50)]
    await node.container.node().drain()
    assert all(writer.closed == ("shutdown", True) for writer in writers)
    assert not await node.hub.ready()


async def test_what_is_written_while_the_store_is_asked_is_not_forgotten(
    node: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, _ = await node.open(client_id="kiosk")
    await node.hub.broadcast("t", 1, persist=True)
    stream.leave()
    await node.hub.broadcast("meanwhile", 2, persist=True)
    ledger, inbox = node.container.ledger(), node.container.store().inbox
    delivered = inbox.delivered

    async def answered_late(reader: Receiver) -> Delivered | None:
        answer: Delivered | None = await delivered(reader)
        await ledger.flush()
        return answer

    monkeypatch.setattr(inbox, "delivered", answered_late)
    _, back = await node.open(client_id="kiosk")
    assert back.types == ["meanwhile"]


async def test_a_node_stops_though_a_library_swallows_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_app.node.END_SECONDS", 0)
    node = build_container(Settings(database_url="memory://")).node()
    swallowing = asyncio.Event()

    async def swallow_one() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        swallowing.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        async with node:
            node._work.append(asyncio.create_task(swallow_one()))
            await asyncio.sleep(0)
    assert swallowing.is_set()
