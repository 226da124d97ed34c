"""The outbox's relay: what it moves, when it looks, and that nothing comes between its commits and the streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

import pytest

from sse_app import outbox
from sse_app.outbox import RELAY_MESSAGES, OutboxRelay
from sse_app.sending import draft
from sse_domain.errors import EventIdConflict, InvalidInput, StoreUnavailable
from sse_domain.log import Commit, Entry
from sse_domain.message import Receiver
from sse_domain.ports import Outbox
from tests.unit.app.conftest import FakeClock, Parts

ADA = Receiver.user("ada")


class FakeOutbox(Outbox):
    """Has no transactions: a test says what is committed. Moves it into the node's log, when the test lets it."""

    def __init__(self, node: Parts) -> None:
        self._log = node.container.store().log
        self.entries: list[Entry] = []
        self.committing: Callable[[], None] = lambda: None
        self.looks = 0
        self.relays: list[int] = []
        self.failures = 0
        self.moved = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def hold(self, count: int = 1, **options: object) -> None:
        """So many messages wait: of the types t0, t1, …, with these numbers as data."""
        for number in range(count):
            given = draft(ADA, f"t{number}", number, persist=True, **options)  # type: ignore[arg-type]
            named = given.event_id is not None
            self.entries.append(Entry(given, given.event_id or f"held-{number}", may_repeat=named))

    async def put(self, entry: Entry, transaction: object, committing: Callable[[], None]) -> None:
        self.entries.append(entry)
        self.committing = committing

    async def waiting(self) -> bool:
        self.looks += 1
        return bool(self.entries)

    async def relay(self, limit: int, now: datetime) -> Commit:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("gone")
        batch, self.entries = self.entries[:limit], self.entries[limit:]
        self.relays.append(len(batch))
        commit: Commit = await self._log.append(batch, now)
        self.moved.set()
        await self.may_answer.wait()
        return commit


@pytest.fixture
def fake(node: Parts) -> FakeOutbox:
    return FakeOutbox(node)


@pytest.fixture
def relay(node: Parts, fake: FakeOutbox, clock: FakeClock) -> OutboxRelay:
    return OutboxRelay(fake, node.container.feed(), clock)


async def settled(relay: OutboxRelay) -> None:
    """Until the relay has looked for the last time."""
    assert relay._looking is not None
    await relay._looking


async def test_everything_that_waits_is_moved_in_bounded_transactions_and_given_to_streams(
    node: Parts, fake: FakeOutbox, relay: OutboxRelay
) -> None:
    _, writer = await node.open(user_id="ada")
    fake.hold(2 * RELAY_MESSAGES + 1)
    await relay.run()
    assert fake.relays == [RELAY_MESSAGES, RELAY_MESSAGES, 1]
    assert [message.seq for message, _ in writer.given] == list(range(1, 2 * RELAY_MESSAGES + 2))
    assert writer.types == [f"t{number}" for number in range(2 * RELAY_MESSAGES + 1)]
    assert relay.accepted == 2 * RELAY_MESSAGES + 1


async def test_where_nothing_waits_nothing_is_relayed(fake: FakeOutbox, relay: OutboxRelay) -> None:
    await relay.run()
    assert fake.relays == []


async def test_nothing_comes_between_a_relays_commit_and_its_streams(
    node: Parts, fake: FakeOutbox, relay: OutboxRelay
) -> None:
    _, writer = await node.open(user_id="ada")
    fake.hold()
    fake.may_answer.clear()
    relaying = asyncio.create_task(relay.run())
    await fake.moved.wait()
    sending = asyncio.create_task(node.hub.send_to_user("ada", "sent", 1, persist=True))
    joining = asyncio.create_task(node.hub.subscribe("ada", "team"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert (await node.container.store().log.head()).seq == 1
    fake.may_answer.set()
    await asyncio.gather(relaying, sending, joining)
    assert writer.types == ["t0", "sent"]


async def test_a_conflict_is_logged_and_does_not_stop_the_rest(
    node: Parts, fake: FakeOutbox, relay: OutboxRelay, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await node.open(user_id="ada")
    await node.hub.send_to_user("ada", "first", {"secret": 1}, persist=True, event_id="taken")
    fake.hold(event_id="taken")
    fake.hold()
    await relay.run()
    assert writer.types == ["first", "t0"]
    [record] = caplog.records
    assert (record.levelno, "'taken'" in record.message, "secret" in record.message) == (logging.ERROR, True, False)
    assert relay.accepted == 1


# When it looks


async def test_without_a_commit_it_only_looks_when_told_to(fake: FakeOutbox, relay: OutboxRelay) -> None:
    fake.hold()
    await relay.put(fake.entries.pop(), transaction=None)
    assert relay._looking is None
    assert fake.looks == 0


async def test_after_a_commit_it_looks_ever_more_rarely_and_then_leaves_it_to_the_tick(
    fake: FakeOutbox, relay: OutboxRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "TICK_SECONDS", 8 * outbox.FIRST_LOOK_SECONDS)
    await relay.put(Entry(draft(ADA, "t", 1, persist=True), "a", may_repeat=False), transaction=None)
    late = fake.entries.copy()
    fake.entries.clear()
    fake.committing()
    await settled(relay)
    assert fake.looks == 4  # with pauses of 1, 2 and 4 times the first one between them; the next one is the tick's
    fake.entries += late
    fake.committing()
    await settled(relay)
    assert fake.relays == [1]


async def test_a_commit_that_is_announced_during_the_last_look_is_looked_for_anew(
    fake: FakeOutbox, relay: OutboxRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "TICK_SECONDS", outbox.FIRST_LOOK_SECONDS)
    await relay.put(Entry(draft(ADA, "t", 1, persist=True), "a", may_repeat=False), transaction=None)
    fake.may_answer.clear()
    fake.committing()
    await fake.moved.wait()
    fake.committing()
    fake.may_answer.set()
    looks = fake.looks
    await settled(relay)
    assert fake.looks == looks + 2  # once to see that nothing more waits, and once for the second commit


async def test_a_store_that_does_not_answer_is_asked_again(
    node: Parts, fake: FakeOutbox, relay: OutboxRelay, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await node.open(user_id="ada")
    fake.failures = 2
    await relay.put(Entry(draft(ADA, "t", 1, persist=True), "a", may_repeat=False), transaction=None)
    fake.committing()
    await fake.moved.wait()
    await relay.stop()
    assert [record.message for record in caplog.records] == ["put off: gone"] * 2
    assert writer.types == ["t"]


async def test_stopping_finishes_the_relay_that_is_under_way_and_begins_no_other(
    node: Parts, fake: FakeOutbox, relay: OutboxRelay
) -> None:
    _, writer = await node.open(user_id="ada")
    fake.hold(RELAY_MESSAGES + 1)
    fake.may_answer.clear()
    tick = asyncio.create_task(relay.run())
    await fake.moved.wait()
    stopping = asyncio.create_task(relay.stop())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not stopping.done()
    fake.may_answer.set()
    await asyncio.gather(stopping, tick)
    assert len(writer.given) == RELAY_MESSAGES
    assert len(fake.entries) == 1
    await relay.put(fake.entries[0], transaction=None)
    fake.committing()
    assert relay._looking is None


# The face of it


async def test_what_is_sent_inside_a_transaction_is_persisted_or_refused(node: Parts) -> None:
    sender = node.hub.outbox(None)
    with pytest.raises(InvalidInput) as raised:
        await sender.send_to_user("ada", "t", 1, persist=False)
    assert raised.value.code == "invalid_persist"
    with pytest.raises(InvalidInput) as raised:
        await sender.send(draft(ADA, "t", 1))
    assert raised.value.code == "invalid_persist"
    with pytest.raises(InvalidInput) as raised:
        await sender.send_to_user("ada", "t", 1)
    assert raised.value.code == "invalid_transaction"


async def test_the_id_of_an_ephemeral_message_is_taken(node: Parts) -> None:
    await node.hub.send_to_user("ada", "t", 1, event_id="taken")
    with pytest.raises(EventIdConflict):
        await node.hub.outbox(None).send_to_user("ada", "t", 1, event_id="taken")
