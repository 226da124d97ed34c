"""Nodes on one log, with no bus between them: what another one commits, and whom it lets join and leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sse_adapters.memory import MemoryStore
from sse_app.feed import READ_CHANGES
from sse_app.sending import draft
from sse_domain.log import Entry
from sse_domain.message import Receiver
from tests.unit.app.conftest import FakeClock, Parts, RecordingWriter, start_parts


async def two_nodes() -> tuple[Parts, Parts]:
    store, clock = MemoryStore(), FakeClock()
    return await start_parts(clock, store=store), await start_parts(clock, store=store)


async def test_a_join_elsewhere_takes_effect_on_an_open_stream_with_the_tick() -> None:
    here, there = await two_nodes()
    _, writer = await here.open(user_id="ada")
    await there.hub.subscribe("ada", "team", ["wanted"])
    await here.container.feed().catch_up()
    await here.hub.send_to_group("team", "wanted", 1)
    await here.hub.send_to_group("team", "other", 2)
    await there.hub.subscribe("ada", "team", ["other"])
    await here.container.feed().catch_up()
    await here.hub.send_to_group("team", "wanted", 3)
    await here.hub.send_to_group("team", "other", 4)
    await there.hub.unsubscribe("ada", "team")
    await here.container.feed().catch_up()
    await here.hub.send_to_group("team", "other", 5)
    assert [message.data for message, _ in writer.given] == [b"1", b"4"]


async def test_a_message_brings_the_joins_before_it_whichever_node_sends_it() -> None:
    here, there = await two_nodes()
    _, writer = await here.open(user_id="ada")
    await there.hub.send_to_group("team", "too-early", 0, persist=True)
    await there.hub.subscribe("ada", "team")
    receipt = await here.hub.send_to_group("team", "from-here", 1, persist=True)
    await there.hub.subscribe("ada", "choir")
    await there.hub.send_to_group("choir", "from-there", 2, persist=True)
    await here.container.feed().catch_up()
    assert (writer.types, receipt.connections) == (["from-here", "from-there"], 1)


async def test_what_was_removed_from_a_hole_brings_in_nothing_of_what_follows_it() -> None:
    here, there = await two_nodes()
    _, writer = await here.open(user_id="ada")
    for number in range(3):
        await there.hub.send_to_user("ada", "t", number, persist=True, ttl=1 if number == 1 else None)
    here.clock.advance(1)
    await there.container.janitor().run()
    await here.hub.send_to_user("ada", "t", 3, persist=True)
    assert [message.data for message, _ in writer.given] == [b"0", b"2", b"3"]


async def test_a_leave_elsewhere_ends_what_comes_after_it() -> None:
    here, there = await two_nodes()
    _, writer = await here.open(user_id="ada", groups=("lobby",))
    for group in ("team", "lobby"):
        await here.hub.subscribe("ada", group)
    for group in ("team", "lobby"):
        await there.hub.unsubscribe("ada", group)
    await here.hub.send_to_group("team", "team", 1, persist=True)
    await here.hub.send_to_group("lobby", "lobby", 2, persist=True)
    assert writer.types == ["lobby"], "the stream itself has joined the lobby"


async def test_more_changes_than_are_read_at_once_are_all_learned() -> None:
    here, there = await two_nodes()
    _, writer = await here.open(user_id="ada")
    for number in range(READ_CHANGES):
        await there.hub.subscribe(f"u{number}", "team")
    await there.hub.subscribe("ada", "team")
    await here.hub.send_to_group("team", "t", 1, persist=True)
    assert writer.types == ["t"]


async def test_changes_through_a_node_itself_cost_it_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock, asked = MemoryStore(), FakeClock(), 0
    changed_since = store.subscriptions.changed_since

    async def counted(*arguments: int) -> Any:
        nonlocal asked
        asked += 1
        return await changed_since(*arguments)

    monkeypatch.setattr(store.subscriptions, "changed_since", counted)
    node = await start_parts(clock, store=store)
    for number in range(3):
        await node.hub.subscribe("ada", f"g{number}")
        await node.hub.send_to_group(f"g{number}", "t", 1, persist=True)
    await node.hub.unsubscribe("ada", "g1")
    await node.container.feed().catch_up()
    assert asked == 0


async def test_the_counts_of_who_joined_elsewhere_are_told() -> None:
    here, there = await two_nodes()
    await there.hub.subscribe("ada", "team")
    await there.hub.send_to_group("team", "t", 1, persist=True)
    _, writer = await here.open(user_id="ada", unread=True)
    await here.container.unread().flush()
    await there.hub.unsubscribe("ada", "team")
    await here.container.feed().catch_up()
    await here.container.unread().flush()
    assert [told["total"] for told in writer.told("sse.unread")] == [0]


async def test_a_cursor_is_resumed_with_the_joins_that_other_nodes_know_of() -> None:
    here, there = await two_nodes()
    await here.open(user_id="ada")
    _, elsewhere = await there.open(user_id="ada")
    await there.hub.subscribe("ada", "team")
    _, back = await here.open(user_id="ada", cursor=elsewhere.begun)
    assert back.told("sse.open")[0]["groups"] == ["team"]


async def test_what_is_learned_while_a_stream_opens_stays_known() -> None:
    here, there = await two_nodes()
    subscriptions = here.container.store().subscriptions
    of_users = subscriptions.of_users

    async def overtaken(user_ids: Sequence[str]) -> Any:
        answer = await of_users(user_ids)
        await there.hub.subscribe("ada", "team", ["new"])
        await here.container.feed().catch_up()
        return answer

    await there.hub.subscribe("ada", "team", ["old"])
    subscriptions.of_users = overtaken
    _, writer = await here.open(user_id="ada")
    for event_type in ("old", "new"):
        await there.hub.send_to_group("team", event_type, 1, persist=True)
    await here.container.feed().catch_up()
    assert writer.types == ["new"]


# Any interleaving


class Interleaved:
    """A port before and after whose every call another node has its turn."""

    def __init__(self, port: object, turn: Callable[[], Awaitable[None]]) -> None:
        self._port = port
        self._turn = turn

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        async def call(*arguments: object) -> object:
            await self._turn()
            answer = await getattr(self._port, name)(*arguments)
            await self._turn()
            return answer

        return call


Call = tuple[str, str]  # what, and in which group


class OtherNode:
    """What another node does to the log meanwhile: a few calls at each turn, the last ones first."""

    def __init__(self, store: MemoryStore, turns: list[list[Call]]) -> None:
        self._store = store
        self.turns = turns
        self.clock = FakeClock()

    async def turn(self) -> None:
        if self.turns:
            for what, group in self.turns.pop():
                await getattr(self, what)(group)
                await asyncio.sleep(0)

    async def join(self, group: str) -> None:
        await self._store.subscriptions.join("ada", group, None)

    async def leave(self, group: str) -> None:
        await self._store.subscriptions.leave("ada", group)

    async def send(self, group: str) -> None:
        seq = (await self._store.log.head()).seq
        entry = Entry(draft(Receiver.group(group), "t", 1, persist=True), f"there-{seq}", may_repeat=False)
        await self._store.log.append([entry], self.clock.now())


class Scenario:
    """A node with a stream of one user, and another one that is interleaved with its every step."""

    def __init__(self, turns: list[list[Call]]) -> None:
        self._store = MemoryStore()
        self._other = OtherNode(self._store, turns)
        self._given: list[int] = []
        # The user's memberships in each group, whichever node began and ended them, as the seqs they lie between.
        self._eras: dict[str, list[tuple[int, float]]] = {"team": [], "choir": []}
        self._note_memberships()

    def _note_memberships(self) -> None:
        subscriptions, log = self._store.subscriptions, self._store.log
        join, leave = subscriptions.join, subscriptions.leave

        async def joined(user_id: str, group: str, event_types: Any) -> Any:
            answer = await join(user_id, group, event_types)
            if answer.new:
                self._eras[group].append((answer.subscription.joined_after, inf))
            return answer

        async def left(user_id: str, group: str) -> Any:
            version = await leave(user_id, group)
            if version is not None:
                self._eras[group][-1] = (self._eras[group][-1][0], (await log.head()).seq)
            return version

        vars(subscriptions).update(join=joined, leave=left)

    async def run(self, steps: list[Call]) -> None:
        store = SimpleNamespace(
            log=Interleaved(self._store.log, self._other.turn),
            subscriptions=Interleaved(self._store.subscriptions, self._other.turn),
            inbox=self._store.inbox,
            retention=self._store.retention,
            outbox=self._store.outbox,
            stamps=self._store.stamps,
        )
        node = await start_parts(self._other.clock, store=store)
        feed = node.container.feed()
        stream, writer = await node.open(user_id="ada", cursor=f"0-{(await self._store.log.head()).epoch}")
        for what, group in steps:
            match what:
                case "send":
                    await node.hub.send_to_group(group, "t", 1, persist=True)
                case "join":
                    await node.hub.subscribe("ada", group)
                case "leave":
                    await node.hub.unsubscribe("ada", group)
                case "tick":
                    await feed.catch_up()
                case "resume":
                    self._take(writer)
                    cursor = stream.cursor()
                    stream.leave()
                    (stream, writer), _ = await asyncio.gather(node.open(user_id="ada", cursor=cursor), feed.catch_up())
        while self._other.turns:
            await self._other.turn()
        await feed.catch_up()
        await node.settle()
        self._take(writer)
        await self._check()

    def _take(self, writer: RecordingWriter) -> None:
        self._given += [message.seq or 0 for message, _ in writer.given]

    async def _check(self) -> None:
        assert self._given == sorted(set(self._given)), "each once, in order"
        hers, owed = set(), set()
        for message in await self._store.log.read(0, 1000):
            eras, seq = self._eras[message.receiver.id or ""], message.seq or 0
            hers |= {seq for after, through in eras if after < seq <= through}
            owed |= {seq for after, through in eras if after < seq and through == inf}
        assert set(self._given) <= hers, "none from before a join or after a leave"
        assert owed <= set(self._given), "none missed after a join that stands"


def test_no_message_beyond_a_join_is_missed_whatever_the_interleaving() -> None:
    def calls(*kinds: str) -> st.SearchStrategy[Call]:
        return st.tuples(st.sampled_from(kinds), st.sampled_from(["team", "choir"]))

    turns = st.lists(st.lists(calls("join", "send", "send", "leave"), max_size=3), max_size=30)
    steps = st.lists(calls("send", "tick", "join", "leave", "resume"), min_size=1, max_size=8)

    @settings(max_examples=500, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(turns=turns, steps=steps)
    def check(turns: list[list[Call]], steps: list[Call]) -> None:
        asyncio.run(Scenario(turns).run(steps))

    check()
