"""Counts of what is unread: from the cache when that would say the same as counting."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sse_adapters.memory import MemoryUnreadCache
from sse_app.unread_counts import CHECK_EVERY, LEAST_KEPT, UnreadCounter
from sse_domain.inbox import UnreadCounts, UnreadStamp
from sse_domain.message import Priority
from sse_domain.ports import UnreadStamps
from tests.unit.app.conftest import FakeClock

MANY = LEAST_KEPT


def counts_of(total: int, next_expiry: datetime | None = None) -> UnreadCounts:
    return UnreadCounts(
        total=total, by_priority={Priority.NORMAL: total}, by_event_type={"t": total}, next_expiry=next_expiry
    )


class Store(UnreadStamps):
    """An inbox and its stamps. What users have not read is set by hand; `counted` are those that were counted for."""

    def __init__(self) -> None:
        self.unread_of: dict[str, int] = {}
        self.expiry: datetime | None = None
        self.counted: list[str] = []
        self.stamped: list[str] = []
        self.meanwhile: list[tuple[str, int]] = []  # what comes right after the next count
        self._changes: dict[str, int] = {}

    def set(self, user_id: str, unread: int) -> None:
        self.unread_of[user_id] = unread
        self._changes[user_id] = self._changes.get(user_id, 0) + 1

    async def unread(self, user_ids: Sequence[str], now: datetime) -> dict[str, UnreadCounts]:
        self.counted += user_ids
        counts = {user_id: self.counts(user_id, now) for user_id in user_ids}
        while self.meanwhile:
            self.set(*self.meanwhile.pop())
        return counts

    def counts(self, user_id: str, now: datetime) -> UnreadCounts:
        expired = self.expiry is not None and self.expiry <= now
        return counts_of(self.unread_of.get(user_id, 0) - expired, None if expired else self.expiry)

    async def stamps(self, user_ids: Sequence[str]) -> dict[str, UnreadStamp]:
        self.stamped += user_ids
        return {user_id: self.stamp(user_id) for user_id in user_ids}

    def stamp(self, user_id: str) -> UnreadStamp:
        return UnreadStamp("0a1b2c3d", 0, 0, self._changes.get(user_id, 0), 0)

    async def marked_since(self, since: datetime, limit: int) -> list[str]:
        raise AssertionError("no one asks here")


class Counting:
    def __init__(self) -> None:
        self.store = Store()
        self.cache = MemoryUnreadCache()
        self.clock = FakeClock()
        self.counter = UnreadCounter(self.store, self.store, self.cache, self.clock)  # type: ignore[arg-type]

    async def check(self, *user_ids: str, counted: Collection[str]) -> None:
        """The counts are right; and these users were counted for, to know them."""
        self.store.counted.clear()
        counts = await self.counter.of(user_ids)
        now = self.clock.now()
        assert counts == {user_id: self.store.counts(user_id, now) for user_id in user_ids}
        assert sorted(set(self.store.counted)) == sorted(counted)

    @property
    def statistics(self) -> dict[str, int]:
        return dict(self.counter.statistics() or {})


@pytest.fixture
def counting() -> Counting:
    return Counting()


async def test_what_was_counted_is_not_counted_again_while_nothing_changes(counting: Counting) -> None:
    counting.store.set("ada", MANY)
    await counting.check("ada", counted=["ada"])
    await counting.check("ada", counted=[])
    counting.store.set("ada", MANY - 1)
    await counting.check("ada", counted=["ada"])
    assert counting.statistics == {"hits": 1, "counted": 3, "checked": 0, "drift": 0}


async def test_who_has_few_is_counted_for_without_asking_for_a_stamp(counting: Counting) -> None:
    counting.store.set("ada", MANY - 1)
    for _ in range(3):
        await counting.check("ada", counted=["ada"])
    assert counting.store.stamped == []


async def test_each_of_several_users_is_answered_for_as_it_is_with_that_one(counting: Counting) -> None:
    for number, user_id in enumerate(("ada", "bob", "eve")):
        counting.store.set(user_id, MANY + number)
    counting.store.set("tim", 3)
    await counting.check("ada", "bob", "tim", counted=["ada", "bob", "tim"])
    counting.store.set("bob", MANY + 5)
    await counting.check("ada", "bob", "eve", "tim", counted=["bob", "eve", "tim"])
    await counting.check("ada", "bob", "eve", "tim", "ada", counted=["tim"])


async def test_what_has_expired_is_counted_no_more_from_the_very_instant(counting: Counting) -> None:
    counting.store.set("ada", MANY + 1)
    counting.store.expiry = counting.clock.now() + timedelta(seconds=10)
    await counting.check("ada", counted=["ada"])
    counting.clock.advance(9.999)
    await counting.check("ada", counted=[])
    counting.clock.advance(0.001)
    await counting.check("ada", counted=["ada"])
    await counting.check("ada", counted=[])


async def test_what_came_after_the_count_is_not_taken_for_counted(counting: Counting) -> None:
    counting.store.set("ada", MANY)
    counting.store.meanwhile = [("ada", MANY + 1)]
    await counting.check("ada", counted=["ada"])
    counting.store.meanwhile = [("ada", MANY + 2)]
    counting.store.set("ada", MANY)
    await counting.counter.of(["ada"])
    await counting.check("ada", counted=["ada"])
    await counting.check("ada", counted=[])


async def test_a_cache_that_is_lost_costs_a_count(counting: Counting) -> None:
    counting.store.set("ada", MANY)
    await counting.check("ada", counted=["ada"])
    counting.counter._cache = MemoryUnreadCache()
    await counting.check("ada", counted=["ada"])


WRONG_TOTAL = replace(counts_of(MANY), total=MANY + 7)
WRONG_EXPIRY = replace(counts_of(MANY), next_expiry=datetime(2030, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("wrong", [WRONG_TOTAL, WRONG_EXPIRY])
async def test_counts_that_are_wrong_are_noticed_told_and_put_right(
    counting: Counting, caplog: pytest.LogCaptureFixture, wrong: UnreadCounts
) -> None:
    counting.store.set("ada", MANY)
    right = counting.store.counts("ada", counting.clock.now())
    await counting.cache.put({"ada": (counting.store.stamp("ada"), wrong)})
    with caplog.at_level(logging.ERROR, "sse_hub"):
        answers = [(await counting.counter.of(["ada"]))["ada"] for _ in range(CHECK_EVERY + 1)]
    assert answers == [wrong] * (CHECK_EVERY - 1) + [right] * 2
    assert [record.message for record in caplog.records] == ["cached unread counts were wrong; they are put right"]
    assert counting.statistics["drift"] == 1
    assert await counting.cache.get(["ada"]) == {"ada": (counting.store.stamp("ada"), right)}


async def test_what_changes_while_it_is_checked_is_no_drift(counting: Counting) -> None:
    counting.store.set("ada", MANY)
    for number in range(1, CHECK_EVERY + 1):
        await counting.check("ada", counted=["ada"] if number == 1 else [])
    counting.store.meanwhile = [("ada", MANY + 1)]
    assert (await counting.counter.of(["ada"]))["ada"].total == MANY
    await counting.check("ada", counted=["ada"])
    assert (counting.statistics["checked"], counting.statistics["drift"]) == (0, 0)


async def test_without_a_cache_everything_is_counted() -> None:
    counting = Counting()
    counting.counter = UnreadCounter(counting.store, counting.store, None, counting.clock)  # type: ignore[arg-type]
    counting.store.set("ada", MANY)
    for _ in range(2):
        await counting.check("ada", counted=["ada"])
    assert counting.counter.statistics() is None
