"""Senders and members-to-be are not kept waiting for a database that does not answer, whoever waits for it first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from sse_adapters.memory import MemoryStore
from sse_app.sending import draft
from sse_app.sequencer import Sequencer
from sse_domain.errors import StoreUnavailable
from sse_domain.message import Receiver
from sse_domain.ports import Commit, Entry
from tests.unit.app.conftest import FakeClock, Parts, start_parts


class Silent:
    """A store whose log takes appends and answers none of them until it is let go."""

    def __init__(self, store: MemoryStore) -> None:
        self._append = store.log.append
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        vars(store.log).update(append=self.append)

    async def append(self, entries: Sequence[Entry], now: datetime) -> Commit:
        self.asked.set()
        await self.answers.wait()
        return await self._append(entries, now)


async def silent_node() -> tuple[Parts, Silent, Sequencer]:
    store = MemoryStore()
    node = await start_parts(FakeClock(), store=store)
    silent = Silent(store)
    return node, silent, Sequencer(store.log, node.container.feed(), FakeClock(), patience_seconds=0)


def entry(event_id: str) -> Entry:
    return Entry(draft(Receiver.user("ada"), "t", 1, persist=True), event_id, may_repeat=True)


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
