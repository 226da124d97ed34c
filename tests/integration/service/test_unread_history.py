"""Unread counts over HTTP equal a brute-force count after every step of a long random history, and at each expiry.

The whole service runs in-process, on a clock that stands still until the history moves it. The naive inbox it is
compared with looks at every message that was ever sent (SPEC §4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
import pytest
from dependency_injector import providers

from sse_app.container import Container, build_container
from sse_app.settings import Settings
from sse_domain.message import Priority
from sse_domain.replay import StreamRequest
from tests.support.http import HubApi, JsonObject
from tests.support.naive_inbox import NaiveInbox, Sent
from tests.unit.app.conftest import FakeClock, RecordingWriter

USERS = ("ana", "Ana", "böb")
GROUPS = ("team", "ana")
TYPES = ("note", "alert")
RETENTION = timedelta(minutes=2)
MICROSECOND = timedelta(microseconds=1)


BEFORE_ANY_EXPIRY = datetime.min.replace(tzinfo=UTC)


class History:
    """One random history, told to the service and to the model alike."""

    def __init__(self, api: HubApi, container: Container, clock: FakeClock, seed: int) -> None:
        self.api = api
        self.container = container
        self.clock = clock
        self.model = NaiveInbox()
        self.random = Random(seed)
        self.watchers: dict[str, RecordingWriter] = {}
        self.event_ids: list[str] = []
        self.expiries_met = 0

    async def watch(self) -> None:
        """Open a stream of each user that is told the counts whenever they change."""
        for user in USERS:
            self.watchers[user] = RecordingWriter()
            await self.container.service().open(StreamRequest(user_id=user, unread=True), self.watchers[user])

    async def send(self) -> None:
        await self._send(self.random.choice((1, 1, 1, 4)))

    async def _send(self, count: int) -> None:
        messages = [self._message() for _ in range(count)]
        results = await self.api.send_batch(messages)
        for message, result in zip(messages, results, strict=True):
            if not message["persist"]:
                assert result["seq"] is None
                continue
            [(field, name)] = message["to"].items()
            kind = field.removesuffix("_id")
            ttl = message.get("ttl")
            self.model.send(kind, str(name), message["event_type"], message["priority"], self.clock.now(), ttl)
            self.event_ids.append(result["event_id"])
            assert result["seq"] == len(self.model.log)

    def _message(self) -> JsonObject:
        user, group = self.random.choice(USERS), self.random.choice(GROUPS)
        to = self.random.choice(({"user_id": user}, {"group": group}, {"broadcast": True}, {"client_id": user}))
        return {
            "to": to,
            "event_type": self.random.choice(TYPES),
            "data": None,
            "persist": self.random.random() < 0.9,
            "priority": self.random.randrange(3),
        } | self.random.choice(({}, {"ttl": self.random.choice((1, 2, 30))}))

    async def join(self) -> None:
        types = self.random.choice((None, ["note"], list(TYPES)))
        user, group = self.random.choice(USERS), self.random.choice(GROUPS)
        answer = await self.api.post("/subscribe", {"user_id": user, "group": group, "event_types": types})
        assert answer.status_code == (201 if self.model.join(user, group, types) else 200)

    async def leave(self) -> None:
        user, group = self.random.choice(USERS), self.random.choice(GROUPS)
        answer = await self.api.unsubscribe(user, group)
        assert answer["unsubscribed"] is self.model.leave(user, group)

    async def mark_these(self) -> None:
        user = self.random.choice(USERS)
        seqs = self.random.choices(range(1, len(self.model.log) + 1), k=self.random.randint(0, 4))
        await self._mark(user, self.model.mark(user, seqs, self.clock.now()), event_ids=self._ids(seqs))

    async def mark_up_to_an_event(self) -> None:
        user = self.random.choice(USERS)
        kept = [sent.seq for sent in self.model.log if sent.kept]
        if kept:
            seq = self.random.choice(kept)
            # The id of a message that was never the user's is ignored; one that has expired since still says how far.
            ever_visible = {sent.seq for sent in self.model.visible(user, BEFORE_ANY_EXPIRY)}
            reach = seq if seq in ever_visible else 0
            marked = self.model.mark_up_to(user, [reach] * 3, self.clock.now())
            await self._mark(user, marked, up_to=self.event_ids[seq - 1])

    async def mark_up_to_a_cursor(self) -> None:
        user = self.random.choice(USERS)
        cursors = [cursor for cursor in self.watchers[user].cursors if cursor is not None]
        if cursors:
            cursor = self.random.choice(cursors)
            seq, _, *lanes = cursor.split("-")
            positions = [int(lane, 36) for lane in lanes[0].split(".")] if lanes else [int(seq)] * 3
            await self._mark(user, self.model.mark_up_to(user, positions, self.clock.now()), up_to=cursor)

    async def mark_all(self) -> None:
        user = self.random.choice(USERS)
        await self._mark(user, self.model.mark_up_to(user, [10**9] * 3, self.clock.now()), all=True)

    async def _mark(self, user: str, marked: int, **selection: Any) -> None:
        answer = await self.api.mark_read(user, **selection)
        assert answer == {"marked": marked, "unread": self.brute_force(user)}

    def _ids(self, seqs: list[int]) -> list[str]:
        return [self.event_ids[seq - 1] for seq in seqs] + ["never-sent"]

    async def pass_time(self) -> None:
        """Move the clock, stopping around every instant on the way at which a message expires."""
        until = self.clock.instant + timedelta(microseconds=self.random.choice((1, 999_999, 1_000_000, 5_000_000)))
        expiries = {sent.expire_at for sent in self.model.log if sent.expire_at is not None}
        for instant in sorted(instant for instant in expiries if self.clock.instant < instant <= until):
            for moment in (max(self.clock.instant, instant - MICROSECOND), instant):
                self.clock.instant = moment
                await self.compare()
            self.expiries_met += 1
        self.clock.instant = until

    async def clean_up(self) -> None:
        await self.container.janitor().run()
        self.model.remove_expired(self.clock.now())
        self.model.remove_older(self.clock.now() - RETENTION, len(self.model.log))

    async def compare(self) -> None:
        """What every user is told, when asking and on an open stream, and what the list of unread messages holds."""
        await self.container.unread().flush()
        for user in USERS:
            expected = self.brute_force(user)
            assert await self.api.unread(user) == expected
            told = [payload for name, payload in self.watchers[user].controls if name == "sse.unread"]
            first = self.watchers[user].told("sse.open")[0]["unread"]
            assert [first, *told][-1] == expected
            page = await self.api.messages(user, status="unread", limit=1000)
            assert [m["seq"] for m in page["messages"]] == [s.seq for s in self.model.unread(user, self.clock.now())]

    def brute_force(self, user: str) -> JsonObject:
        unread = self.model.unread(user, self.clock.now())

        def counted(key: Callable[[Sent], str], among: list[Sent]) -> dict[str, int]:
            return dict(Counter(map(key, among)))

        by_priority = counted(lambda sent: Priority(sent.priority).name.lower(), unread)
        return {
            "user_id": user,
            "total": len(unread),
            "by_priority": {name: by_priority.get(name, 0) for name in ("normal", "high", "urgent")},
            "by_group": counted(lambda sent: sent.name, [sent for sent in unread if sent.kind == "group"]),
            "by_event_type": counted(lambda sent: sent.event_type, unread),
        }


@asynccontextmanager
async def service(database_url: str, clock: FakeClock) -> AsyncIterator[tuple[Container, HubApi]]:
    """The parts of a node and its API, without timers: what they would do is part of the history."""
    days = RETENTION / timedelta(days=1)
    container = build_container(Settings(database_url=database_url, retention_days=days))
    container.clock.override(providers.Object(clock))
    await container.store().start()
    await container.feed().start()
    app: Any = container.app()  # two names for the same ASGI types
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        yield container, HubApi(client)
    await container.store().close()


@pytest.mark.parametrize(
    ("database_url", "seed", "steps"),
    [("memory", 1, 350), ("memory", 2, 350), ("sqlite", 3, 350), ("postgresql", 7, 100), ("mysql", 5, 100)],
    indirect=["database_url"],
)
async def test_unread_counts_equal_a_brute_force_count_at_every_instant(
    database_url: str, seed: int, steps: int
) -> None:
    clock = FakeClock()
    async with service(database_url, clock) as (container, api):
        history = History(api, container, clock, seed)
        await history.watch()
        possible: list[Callable[[], Awaitable[None]]] = [
            *[history.send] * 6,
            *[history.pass_time] * 4,
            *[history.join] * 2,
            history.leave,
            *[history.mark_these] * 2,
            history.mark_up_to_an_event,
            history.mark_up_to_a_cursor,
            history.clean_up,
        ]
        await history.send()
        for step in range(steps):
            await history.random.choice(possible)()
            if step % 40 == 39:
                await history.mark_all()
            await history.compare()
    assert history.expiries_met > steps // 12
    assert not all(sent.kept for sent in history.model.log)
