"""Those who join and leave, who mark as read, and who ask: each asks again until that is answered."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.chaos.laws.evidence import GHOST_SECONDS
from tests.chaos.readers import ChaosReader
from tests.chaos.record import Count, FramePlace, Listing, Mark, MembershipChange
from tests.chaos.run import Caller, Run, open_caller
from tests.chaos.senders import TYPES
from tests.support.http import JsonObject


class Joiner:
    """Lets users join groups and leave them, again and again. What is not answered at once is left alone for a while:
    it might still be done."""

    def __init__(self, run: Run, pairs: Sequence[tuple[str, str]]) -> None:
        self._run = run
        self._pairs = pairs
        self._random = run.random("joiner")
        self._settled: dict[tuple[str, str], float] = {}

    async def run(self) -> None:
        async with open_caller(self._run) as caller:
            while not self._run.progress.ending:
                pair = self._random.choice(self._pairs)
                if self._settled.get(pair, 0.0) < self._run.clock.now():
                    await self._change(caller, *pair)
                await self._run.progress.more_answered(self._random.randint(1, 15))

    async def _change(self, caller: Caller, user_id: str, group: str) -> None:
        change = MembershipChange(
            user_id=user_id,
            group=group,
            joins=self._random.random() < 0.6,
            event_types=self._random.choice((None, None, list(TYPES[:2]))),
        )
        if not change.joins:
            change.event_types = None
        await change_membership(self._run, caller, change, self._random)
        if len(change.attempts) > 1:
            self._settled[user_id, group] = self._run.clock.now() + GHOST_SECONDS


async def change_membership(run: Run, caller: Caller, change: MembershipChange, nodes: Random) -> None:
    run.record.changes.append(change)
    body: JsonObject = {"user_id": change.user_id, "group": change.group}
    if change.joins:
        body["event_types"] = change.event_types
    await caller.until_accepted(change, nodes, "/subscribe" if change.joins else "/unsubscribe", body)


class Marker:
    """Marks messages of users as read, in each of the ways that there are."""

    def __init__(self, run: Run, users: Sequence[str], readers: Sequence[ChaosReader]) -> None:
        self._run = run
        self._users = users
        self._readers = readers
        self._random = run.random("marker")

    async def run(self) -> None:
        async with open_caller(self._run) as caller:
            while not self._run.progress.ending:
                await self._run.progress.more_answered(self._random.randint(5, 30))
                await mark_read(self._run, caller, self._next(), self._random)

    def _next(self) -> Mark:
        user_id = self._random.choice(self._users)
        places = [
            reader.place for reader in self._readers if reader.ways.user_id == user_id and reader.place is not None
        ]
        answered = self._answered(user_id)
        kind = self._random.random()
        if kind < 0.2 and places:
            return Mark(user_id=user_id, up_to_frame=self._random.choice(places))
        if kind < 0.4 and answered:
            # Far back: else nothing would ever be owed that is not read.
            return Mark(user_id=user_id, up_to=answered[self._random.randrange(1 + len(answered) // 2)])
        if kind < 0.43:
            return Mark(user_id=user_id)
        return Mark(user_id=user_id, event_ids=self._random.sample(answered, min(len(answered), 5)) or ["nothing"])

    def _answered(self, user_id: str) -> list[str]:
        """What was sent to the user or to all, and is known to have been committed: the earliest first."""
        found = []
        for send in self._run.record.sends:
            accepted = send.accepted
            mine = send.to in (("user", user_id), ("broadcast", "")) and send.persist and send.ttl is None
            if mine and accepted is not None and accepted.answer is not None:
                found.append(accepted.answer["event_id"])
        return found


async def mark_read(run: Run, caller: Caller, mark: Mark, nodes: Random) -> None:
    run.record.marks.append(mark)
    body: JsonObject = {"user_id": mark.user_id}
    if mark.event_ids is not None:
        body["event_ids"] = mark.event_ids
    elif mark.up_to is not None:
        body["up_to"] = mark.up_to
    elif mark.up_to_frame is not None:
        body["up_to"] = cursor_at(run, mark.up_to_frame)
    else:
        body["all"] = True
    await caller.until_accepted(mark, nodes, "/messages/read", body)


def cursor_at(run: Run, place: FramePlace) -> str:
    cursor = run.record.connections[place.connection].frames[place.frame].id
    assert cursor is not None
    return cursor


class Counter:
    """Asks for users' counts and messages."""

    def __init__(self, run: Run, users: Sequence[str]) -> None:
        self._run = run
        self._users = users
        self._random = run.random("counter")

    async def run(self) -> None:
        async with open_caller(self._run) as caller:
            while not self._run.progress.ending:
                await self._run.progress.more_answered(self._random.randint(5, 20))
                node, user_id = self._random.choice(self._run.nodes), self._random.choice(self._users)
                await count_unread(self._run, caller, user_id, node)
                if self._random.random() < 0.2:
                    await list_messages(self._run, caller, user_id, node)


async def count_unread(run: Run, caller: Caller, user_id: str, node: str) -> JsonObject | None:
    begun = run.clock.now()
    counts = await caller.get(node, "/messages/unread", user_id=user_id)
    if counts is not None:
        run.record.counts.append(Count(user_id=user_id, node=node, at=begun, ended_at=run.clock.now(), counts=counts))
    return counts


async def list_messages(run: Run, caller: Caller, user_id: str, node: str) -> None:
    """Over all pages; given up when one is not answered."""
    begun = run.clock.now()
    messages: list[JsonObject] = []
    after: dict[str, str] = {}
    while True:
        page = await caller.get(node, "/messages", user_id=user_id, limit="200", **after)
        if page is None:
            return
        messages += page["messages"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    for message in messages:
        bulk = message["data"].get("bulk")
        if bulk is not None:
            message["data"]["bulk"] = len(bulk)
    listing = Listing(user_id=user_id, node=node, at=begun, ended_at=run.clock.now(), messages=messages)
    run.record.listings.append(listing)
