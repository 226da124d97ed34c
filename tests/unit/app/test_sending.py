"""Sending: receipts, repeats, batches, and what happens when the log fails."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from sse_app.publisher import RANDOM_PARTS, EventIds
from sse_app.sending import draft
from sse_domain.api import Receipt
from sse_domain.errors import (
    EventIdConflict,
    InvalidInput,
    ShuttingDown,
    SseError,
    StoreUnavailable,
    UnknownEventId,
)
from sse_domain.log import Entry
from sse_domain.message import BROADCAST, Receiver
from tests.unit.app.conftest import Parts

ADA = Receiver.user("ada")


async def test_a_receipt_counts_the_streams_that_were_handed_the_message(node: Parts) -> None:
    await node.open(user_id="ada")
    await node.open(user_id="ada")
    await node.open(user_id="bob")
    persisted = await node.hub.send_to_user("ada", "t", 1, persist=True)
    assert (persisted.seq, persisted.persisted, persisted.connections) == (1, True, 2)
    ephemeral = await node.hub.broadcast("t", 1)
    assert (ephemeral.seq, ephemeral.persisted, ephemeral.connections) == (None, False, 3)


@pytest.mark.parametrize("persist", [True, False])
async def test_a_repeat_is_answered_as_the_first_and_sent_once(node: Parts, persist: bool) -> None:
    _, writer = await node.open(user_id="ada")
    first = await node.hub.send_to_user("ada", "t", {"a": 1}, persist=persist, event_id="e1")
    again = await node.hub.send_to_user("ada", "t", {"a": 1}, persist=persist, event_id="e1")
    assert (again.event_id, again.seq, again.expire_at) == (first.event_id, first.seq, first.expire_at)
    assert (first.repeated, again.repeated, again.connections) == (False, True, 0)
    with pytest.raises(EventIdConflict):
        await node.hub.send_to_user("ada", "t", {"a": 2}, persist=persist, event_id="e1")
    with pytest.raises(EventIdConflict):
        await node.hub.send_to_user("ada", "t", {"a": 1}, persist=not persist, event_id="e1")
    assert writer.types == ["t"]


async def test_a_batch_answers_each_in_its_place(node: Parts) -> None:
    await node.hub.send_to_user("ada", "t", 1, persist=True, event_id="taken")
    answers = await node.hub.send_batch(
        [
            draft(ADA, "a", 1, persist=True),
            draft(ADA, "b", 2),
            draft(ADA, "t", 9, persist=True, event_id="taken"),
            draft(ADA, "t", 1, persist=True, event_id="taken"),
            draft(BROADCAST, "c", 3, persist=True),
        ]
    )
    kinds = [answer.code if isinstance(answer, SseError) else answer.seq for answer in answers]
    assert kinds == [2, None, "event_id_conflict", 1, 3]
    with pytest.raises(InvalidInput):
        await node.hub.send_batch([draft(ADA, "a", 1)] * 1001)


async def test_generated_ids_are_ordered_by_time(node: Parts) -> None:
    ids = []
    for _ in range(3):
        ids.append((await node.hub.send_to_user("ada", "t", 1)).event_id)
        node.clock.advance(0.001)
    assert ids == sorted(ids)


async def test_generated_ids_are_in_the_order_of_their_batch(node: Parts) -> None:
    answers = await node.hub.send_batch([draft(ADA, "t", n, persist=n % 8 < 4) for n in range(100)])
    ids = [answer.event_id for answer in answers if isinstance(answer, Receipt)]
    assert len(ids) == 100
    assert ids == sorted(ids)


def test_generated_ids_of_one_instant_rise() -> None:
    event_ids, now = EventIds(), datetime(2026, 1, 1, tzinfo=UTC)
    drawn = [event_ids.new(now) for _ in range(2 * RANDOM_PARTS + 1)]
    assert all(before < after for before, after in pairwise(drawn))
    assert all(re.fullmatch("019b76daa800[0-9a-f]{20}", each) for each in drawn), "the instant, then 80 bits"
    steps = [int(after, 16) - int(before, 16) for before, after in pairwise(drawn)]
    assert max(steps) > 2**60, "nobody can tell the next from the one before"
    assert len(set(steps)) == len(steps)


def test_generated_ids_rise_when_the_clock_goes_back_and_when_an_instant_is_full() -> None:
    event_ids, now = EventIds(), datetime(2026, 1, 1, tzinfo=UTC)
    drawn = [event_ids.new(now + timedelta(seconds=seconds)) for seconds in (0, -3600, -1, -3600)]
    drawn += [event_ids.new(now) for _ in range(200_000)]
    drawn += [event_ids.new(now + timedelta(seconds=1))]
    assert all(before < after for before, after in pairwise(drawn))
    assert {len(each) for each in drawn} == {32}
    assert drawn[-2].startswith("019b76daa80"), "ahead of its time by little"
    assert drawn[-1].startswith("019b76daabe8")


async def test_what_another_process_committed_is_found_by_the_tick(node: Parts) -> None:
    _, writer = await node.open(user_id="ada")
    entry = Entry(draft(ADA, "elsewhere", 1, persist=True), "x1", may_repeat=False)
    await node.container.store().log.append([entry], node.clock.now())
    await node.container.feed().catch_up()
    await node.settle()
    assert writer.types == ["elsewhere"]


async def test_concurrent_sends_share_commits_and_are_dense(node: Parts) -> None:
    receipts = await asyncio.gather(*(node.hub.send_to_user("ada", "t", n, persist=True) for n in range(500)))
    assert [receipt.seq for receipt in receipts] == list(range(1, 501))
    assert node.container.sequencer().backlog == 0


async def test_a_stopped_sequencer_finishes_what_it_took_and_refuses_the_rest(node: Parts) -> None:
    sending = [asyncio.create_task(node.hub.send_to_user("ada", "t", n, persist=True)) for n in range(10)]
    await asyncio.sleep(0)
    await node.container.sequencer().stop()
    answers = await asyncio.gather(*sending, return_exceptions=True)
    assert all(isinstance(answer, Receipt) for answer in answers)
    with pytest.raises(ShuttingDown):
        await node.hub.send_to_user("ada", "late", 1, persist=True)


async def test_ids_are_event_ids_before_they_are_cursors_and_unknown_ones_mark_nothing(node: Parts) -> None:
    epoch = node.container.flow().head.epoch
    for number in range(3):
        await node.hub.send_to_user("ada", "t", number, persist=True)
    await node.hub.send_to_user("ada", "t", 3, persist=True, event_id=f"1-{epoch}")
    await node.hub.send_to_user("bob", "t", 4, persist=True, event_id="bobs")
    assert (await node.hub.mark_read("ada", up_to="bobs")).marked == 0
    assert (await node.hub.mark_read("ada", up_to="never-sent")).marked == 0
    await node.hub.mark_read("ada", event_ids=[f"1-{epoch}"])
    left = await node.hub.history("ada", status="unread")
    assert [entry.message.seq for entry in left.entries] == [1, 2, 3]
    assert (await node.hub.mark_read("ada", up_to=f"2-{epoch}")).marked == 2
    with pytest.raises(UnknownEventId):
        await node.hub.history("ada", after="never-sent")


async def test_a_backlog_beyond_its_bytes_is_refused_whole(node: Parts) -> None:
    large = [draft(ADA, "t", "x" * 200_000, persist=True) for _ in range(400)]
    answers = await asyncio.gather(
        *(node.hub.send_batch(large[start : start + 100]) for start in range(0, 400, 100)), return_exceptions=True
    )
    codes = [a.code if isinstance(a, SseError) else "sent" for batch in answers for a in batch]  # type: ignore[union-attr]
    assert codes == ["sent"] * 300 + ["overloaded"] * 100
    assert node.container.sequencer().backlog == 0


async def test_a_failing_look_up_costs_an_ephemeral_message_only_its_own_answer(
    node: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, writer = await node.open(user_id="ada")
    log = node.container.store().log
    find, failing = log.find, ["b"]

    async def find_or_fail(event_ids: Sequence[str]) -> object:
        if set(failing) & set(event_ids):
            raise StoreUnavailable("gone")
        return await find(event_ids)

    monkeypatch.setattr(log, "find", find_or_fail)
    drafts = [
        draft(ADA, "committed", 1, persist=True),
        draft(ADA, "a", 2, event_id="a"),
        draft(ADA, "b", 3, event_id="b"),
        draft(ADA, "unnamed", 4),
    ]
    answers = await node.hub.send_batch(drafts)
    assert isinstance(answers[0], Receipt), "it is committed, whatever becomes of the others"
    assert isinstance(answers[2], StoreUnavailable)
    failing.clear()
    again = [draft for draft, answer in zip(drafts, answers, strict=True) if isinstance(answer, StoreUnavailable)]
    assert all(isinstance(answer, Receipt) for answer in await node.hub.send_batch(again))
    assert sorted(writer.types) == ["a", "b", "committed", "unnamed"]
