"""Senders and members-to-be are not kept waiting for a database that does not answer, whoever waits for it first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from sse_adapters.memory import MemoryStore
from sse_app.sending import draft
from sse_app.sequencer import Sequenced, Sequencer
from sse_domain.errors import StoreUnavailable
from sse_domain.log import Commit, Entry
from sse_domain.message import Receiver
from tests.unit.app.conftest import FakeClock, Parts, start_parts


class Silent:
    """A store whose log takes appends and answers none of them until it is let go."""

    def __init__(self, store: MemoryStore) -> None:
        self._append = store.log.append
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        vars(store.log).update(append=self.append)

    def answer_one(self) -> None:
        """Let go what has been asked, and nothing after it."""
        self.answers.set()
        self.answers.clear()

    async def append(self, entries: Sequence[Entry], now: datetime) -> Commit:
        self.asked.set()
        await self.answers.wait()
        return await self._append(entries, now)


async def silent_node(patience_seconds: float = 0) -> tuple[Parts, Silent, Sequencer]:
    store = MemoryStore()
    node = await start_parts(FakeClock(), store=store)
    silent = Silent(store)
    return node, silent, Sequencer(store.log, node.container.feed(), node.clock, patience_seconds=patience_seconds)


def entry(event_id: str) -> Entry:
    return Entry(draft(Receiver.user("ada"), "t", 1, persist=True), event_id, may_repeat=True)


def given_up(sending: asyncio.Task[Any]) -> bool:
    return sending.done() and isinstance(sending.exception(), StoreUnavailable)


async def test_whoever_sends_is_told_when_nothing_is_committed_any_more_and_what_was_sent_may_be_after() -> None:
    node, silent, sequencer = await silent_node()
    _, writer = await node.open(user_id="ada")
    for event_id in ("first", "behind-it"):
        with pytest.raises(StoreUnavailable):
            await sequencer.submit([entry(event_id)])
    assert sequencer.backlog == 2
    silent.answers.set()
    await sequencer.stop()
    assert sequencer.backlog == 0
    assert [message.event_id for message, _ in writer.given] == ["first", "behind-it"]


async def test_patience_begins_with_what_is_sent_and_anew_with_each_commit() -> None:
    node, silent, sequencer = await silent_node(patience_seconds=10)

    async def begin(event_id: str, after: float) -> asyncio.Task[list[Sequenced]]:
        node.clock.advance(after)
        sending = asyncio.create_task(sequencer.submit([entry(event_id)]))
        await asyncio.sleep(0)
        return sending

    async def look(after: float) -> None:
        node.clock.advance(after)
        sequencer._give_up()
        await asyncio.sleep(0)

    first = await begin("first", after=0)
    await silent.asked.wait()
    early = await begin("early", after=6)
    node.clock.advance(3)
    silent.answer_one()
    assert (await first)[0].appended.message.seq == 1
    late = await begin("late", after=3)
    await look(after=5)
    assert not given_up(early), "11 seconds after it was sent, but 8 after the last commit"
    await look(after=3)
    assert given_up(early)
    assert not given_up(late), "11 seconds after the last commit, but 8 after it was sent"
    silent.answers.set()
    assert (await late)[0].appended.message.seq == 3
    await sequencer.stop()


async def test_whoever_joins_or_leaves_is_told_when_its_turn_does_not_come() -> None:
    node, silent, _ = await silent_node()
    vars(node.container.feed()).update(_patience_seconds=0)
    sending: asyncio.Task[Any] = asyncio.create_task(node.hub.send_to_user("ada", "t", 1, persist=True))
    await silent.asked.wait()
    for change in (node.hub.subscribe, node.hub.unsubscribe):
        with pytest.raises(StoreUnavailable):
            await change("ada", "team")
    silent.answers.set()
    assert (await sending).seq == 1
    assert await node.hub.subscriptions("ada") == []
