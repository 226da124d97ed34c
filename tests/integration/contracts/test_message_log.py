"""MessageLog: the order of seqs, repeats and conflicts, and the look-ups (SPEC §1, §2, §3.8)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sse_domain.cursor import START, Positions
from sse_domain.inbox import Delivered
from sse_domain.log import Entry, Outcome
from sse_domain.message import BROADCAST, Draft, Message, Priority, Receiver
from sse_domain.replay import LogHead
from tests.support.clock import MICROSECOND, ManualClock
from tests.support.stores import EPOCH, Publisher, Store, seq_of

ANA = Receiver.user("ana")
DRAFT = Draft(receiver=ANA, event_type="note", data=b'{"a": 1}', persist=True, ttl=60)


def entry(event_id: str, draft: Draft = DRAFT, *, may_repeat: bool = True) -> Entry:
    return Entry(draft, event_id, may_repeat)


async def test_a_new_log_is_empty(store: Store) -> None:
    assert await store.log.head() == LogHead(epoch=EPOCH, seq=0, purged_through=0)
    assert await store.log.read(0, 10) == []


async def test_appending_nothing_changes_nothing(store: Store, clock: ManualClock) -> None:
    assert (await store.log.append([], clock())).appended == []
    assert (await store.log.head()).seq == 0


@pytest.mark.parametrize("may_repeat", [True, False])
async def test_what_was_appended_is_answered_and_kept_whole(store: Store, clock: ManualClock, may_repeat: bool) -> None:
    draft = Draft(
        receiver=Receiver.group("team"),
        event_type="rank.update",
        data=b'{"rank": 1}',
        persist=True,
        priority=Priority.URGENT,
        ttl=0.25,
    )
    [(outcome, message)] = (await store.log.append([entry("e", draft, may_repeat=may_repeat)], clock())).appended
    assert outcome is Outcome.NEW
    assert message == Message(
        event_id="e",
        seq=1,
        event_type="rank.update",
        receiver=Receiver.group("team"),
        priority=Priority.URGENT,
        data=b'{"rank": 1}',
        created_at=clock(),
        ttl=0.25,
        expire_at=clock() + timedelta(milliseconds=250),
    )
    assert await store.log.read(0, 10) == [message]
    assert await store.log.find(["e"]) == {"e": message}


async def test_seqs_are_dense_across_batches_repeats_and_conflicts(store: Store, clock: ManualClock) -> None:
    other = replace(DRAFT, data=b"2")
    first = (await store.log.append([entry("a"), entry("b")], clock())).appended
    second = (await store.log.append([entry("a"), entry("c"), entry("b", other), entry("d")], clock())).appended
    third = (await store.log.append([entry("e")], clock())).appended
    assert [(outcome, message.seq) for outcome, message in first + second + third] == [
        (Outcome.NEW, 1),
        (Outcome.NEW, 2),
        (Outcome.REPEATED, 1),
        (Outcome.NEW, 3),
        (Outcome.CONFLICT, 2),
        (Outcome.NEW, 4),
        (Outcome.NEW, 5),
    ]
    assert [message.seq for message in await store.log.read(0, 10)] == [1, 2, 3, 4, 5]
    assert (await store.log.head()).seq == 5


async def test_a_repeat_is_answered_with_the_first_message(store: Store, clock: ManualClock) -> None:
    [(_, first)] = (await store.log.append([entry("a")], clock())).appended
    clock.advance(seconds=120)  # also when the first has expired
    [(outcome, again)] = (await store.log.append([entry("a")], clock())).appended
    assert (outcome, again) == (Outcome.REPEATED, first)
    assert await store.log.read(0, 10) == [first]


@pytest.mark.parametrize(
    "change",
    [
        {"receiver": Receiver.user("bob")},
        {"receiver": Receiver.client("ana")},
        {"receiver": Receiver.group("ana")},
        {"receiver": BROADCAST},
        {"event_type": "Note"},
        {"priority": Priority.HIGH},
        {"ttl": None},
        {"ttl": 60.000001},
        {"data": b'{"a": 2}'},
        {"data": b'{"a": 1.0}'},
        {"data": b'{"a": "1"}'},
        {"data": b'{"A": 1}'},
    ],
    ids=repr,
)
async def test_other_content_conflicts_and_changes_nothing(
    store: Store, clock: ManualClock, change: dict[str, Any]
) -> None:
    [(_, first)] = (await store.log.append([entry("a")], clock())).appended
    changed = entry("a", replace(DRAFT, **change))
    [(outcome, kept)] = (await store.log.append([changed], clock.advance(seconds=1))).appended
    assert (outcome, kept) == (Outcome.CONFLICT, first)
    assert await store.log.read(0, 10) == [first]


async def test_white_space_and_key_order_are_no_other_content(store: Store, clock: ManualClock) -> None:
    spelled = replace(DRAFT, data=b'{"a":[1, {"x": 1, "y": 2}],"b":"\\u0000"}')
    respelled = replace(DRAFT, data=b' { "b" : "\\u0000", "a": [1,{"y":2,"x":1}] }\n')
    [(_, first)] = (await store.log.append([entry("a", spelled)], clock())).appended
    [(outcome, again)] = (await store.log.append([entry("a", respelled)], clock())).appended
    assert outcome is Outcome.REPEATED
    assert again.data == first.data == spelled.data


@pytest.mark.parametrize("may_repeat", [True, False])
async def test_within_one_call_the_first_use_of_an_event_id_counts(
    store: Store, clock: ManualClock, may_repeat: bool
) -> None:
    drafts = [DRAFT, DRAFT, replace(DRAFT, data=b"2"), DRAFT]
    entries = [entry("a", draft, may_repeat=may_repeat) for draft in drafts]
    answers = (await store.log.append([*entries, entry("b")], clock())).appended
    assert [(outcome, message.seq) for outcome, message in answers] == [
        (Outcome.NEW, 1),
        (Outcome.REPEATED, 1),
        (Outcome.CONFLICT, 1),
        (Outcome.REPEATED, 1),
        (Outcome.NEW, 2),
    ]


async def test_appending_again_settles_what_became_of_a_batch(store: Store, clock: ManualClock) -> None:
    batch = [entry(f"e{number}", may_repeat=False) for number in range(3)]
    committed = (await store.log.append(batch, clock())).appended
    again = [replace(each, may_repeat=True) for each in batch]
    settled = (await store.log.append([*again, entry("e3")], clock.advance(seconds=1))).appended
    assert [outcome for outcome, _ in settled] == [Outcome.REPEATED] * 3 + [Outcome.NEW]
    assert [message for _, message in settled[:3]] == [message for _, message in committed]
    assert (await store.log.head()).seq == 4


@pytest.mark.parametrize("steps", range(40))
async def test_a_cancelled_append_is_committed_whole_or_not_at_all(
    store: Store, clock: ManualClock, steps: int
) -> None:
    batch = [entry("a"), entry("b")]
    appending = asyncio.create_task(store.log.append(batch, clock()))
    for _ in range(steps):
        await asyncio.sleep(0)
    appending.cancel()
    await asyncio.gather(appending, return_exceptions=True)
    settled = (await store.log.append([*batch, entry("c")], clock())).appended
    assert len({outcome for outcome, _ in settled[:2]}) == 1
    assert [message.seq for _, message in settled] == [1, 2, 3]


async def test_a_large_batch_is_one_batch(store: Store, clock: ManualClock) -> None:
    entries = [entry(f"e{number}", may_repeat=number % 2 == 0) for number in range(1000)]
    answers = (await store.log.append(entries, clock())).appended
    assert [message.seq for _, message in answers] == list(range(1, 1001))
    kept = await store.log.find([each.event_id for each in entries])
    assert sorted(map(seq_of, kept.values())) == list(range(1, 1001))


async def test_concurrent_appends_stay_dense_and_whole(store: Store, clock: ManualClock) -> None:
    batches = [[entry(f"{batch}-{number}") for number in range(3)] for batch in range(20)]
    answers = await asyncio.gather(*(store.log.append(batch, clock()) for batch in batches))
    for batch, (appended, head) in zip(batches, answers, strict=True):
        first = seq_of(appended[0].message)
        assert head.seq == first + 2
        assert [(message.event_id, message.seq) for _, message in appended] == [
            (each.event_id, first + place) for place, each in enumerate(batch)
        ]
    assert [message.seq for message in await store.log.read(0, 100)] == list(range(1, 61))


async def test_concurrent_sends_of_one_event_id_make_one_message(store: Store, clock: ManualClock) -> None:
    answers = await asyncio.gather(*(store.log.append([entry("a")], clock()) for _ in range(10)))
    outcomes = [outcome for [(outcome, _)], _ in answers]
    assert sorted(outcomes, key=str) == [Outcome.NEW] + [Outcome.REPEATED] * 9
    assert len(await store.log.read(0, 10)) == 1


async def test_the_head_never_runs_ahead_of_what_is_read_after_it(store: Store, clock: ManualClock) -> None:
    async def observe() -> None:
        for _ in range(5):
            head = (await store.log.head()).seq
            assert [message.seq for message in await store.log.read(0, head)] == list(range(1, head + 1))

    appends = (store.log.append([entry(f"e{number}")], clock()) for number in range(20))
    await asyncio.gather(*appends, observe(), observe())


async def test_read_pages_through_everyones_messages_expired_or_not(store: Store, publish: Publisher) -> None:
    receivers = [ANA, Receiver.client("phone"), Receiver.group("team"), BROADCAST, Receiver.user("bob")]
    messages = [await publish(receiver, ttl=0.000001) for receiver in receivers]
    assert await store.log.read(0, 2) == messages[:2]
    assert await store.log.read(2, 2) == messages[2:4]
    assert await store.log.read(4, 2) == messages[4:]
    assert await store.log.read(5, 2) == []


async def test_find_knows_only_what_is_in_the_log(store: Store, publish: Publisher) -> None:
    message = await publish(ANA, event_id="Abc")
    assert await store.log.find(["Abc", "abc", "ABC", "Abc", "other"]) == {"Abc": message}
    assert await store.log.find([]) == {}


async def test_seq_before_a_time(store: Store, publish: Publisher, clock: ManualClock) -> None:
    assert await store.log.seq_before(clock()) == 0
    start = clock()
    for _ in range(3):
        await publish(ANA)
        clock.advance(microseconds=1)
    assert await store.log.seq_before(start) == 0
    assert await store.log.seq_before(start + MICROSECOND) == 1
    assert await store.log.seq_before(start + 2 * MICROSECOND) == 2
    assert await store.log.seq_before(start + 3 * MICROSECOND) == 3


async def test_seq_before_holds_when_the_clock_was_set_back(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    start = clock()
    for seconds in (10, -5, 15):  # created at 10, 5 and 20
        clock.advance(seconds=seconds)
        await publish(ANA)
    assert await store.log.seq_before(start + timedelta(seconds=4)) == 0
    assert await store.log.seq_before(start + timedelta(seconds=8)) == 0
    assert await store.log.seq_before(start + timedelta(seconds=15)) == 2
    assert await store.log.seq_before(start + timedelta(seconds=21)) == 3


async def test_first_owed_looks_at_one_receiver_and_each_priority(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    phone = Receiver.client("phone")
    for receiver in (BROADCAST, Receiver.user("phone"), Receiver.group("phone"), Receiver.client("Phone")):
        for priority in Priority:
            await publish(receiver, priority=priority)
    assert await store.log.first_owed(phone, START, clock()) == (None, None, None)
    normal = await publish(phone)
    first, second = [await publish(phone, priority=Priority.URGENT) for _ in range(2)]
    assert await store.log.first_owed(phone, START, clock()) == (normal.seq, None, first.seq)
    beyond = Positions(normal=seq_of(normal) - 1, high=0, urgent=seq_of(first))
    assert await store.log.first_owed(phone, beyond, clock()) == (normal.seq, None, second.seq)
    assert await store.log.first_owed(phone, Positions.level(seq_of(second)), clock()) == (None, None, None)


async def test_first_owed_is_not_expired(store: Store, publish: Publisher, clock: ManualClock) -> None:
    short = await publish(ANA, ttl=1)
    lasting = await publish(ANA)
    clock.advance(seconds=1, microseconds=-1)
    assert await store.log.first_owed(ANA, START, clock()) == (short.seq, None, None)
    clock.advance(microseconds=1)
    assert await store.log.first_owed(ANA, START, clock()) == (lasting.seq, None, None)


async def test_an_append_tells_the_head_that_it_leaves(store: Store, clock: ManualClock) -> None:
    await store.subscriptions.join("ana", "team", None)
    for batch, seq in (([entry("a"), entry("b")], 2), ([entry("a"), entry("c")], 3), ([entry("a")], 3), ([], 3)):
        commit = await store.log.append(batch, clock())
        assert commit.head == await store.log.head() == LogHead(epoch=EPOCH, seq=seq, memberships=1)
    await store.retention.remove_older(clock.advance(seconds=1), 2)
    commit = await store.log.append([entry("d")], clock())
    assert commit.head == await store.log.head() == LogHead(epoch=EPOCH, seq=4, purged_through=2, memberships=1)


# Its identity


async def test_a_log_is_renamed_by_who_knows_its_name_and_by_one_of_many(store: Store, publish: Publisher) -> None:
    await publish(ANA)
    await store.log.rename("otherlog", "newname0", through=1)
    assert (await store.log.head()).epoch == EPOCH
    names = [f"newname{number}" for number in range(8)]
    await asyncio.gather(*(store.log.rename(EPOCH, name, through=1) for name in names))
    assert (await store.log.head()).epoch in names
    assert (await store.log.head()).seq == 1


async def test_with_another_name_what_was_given_of_the_log_before_is_forgotten(
    store: Store, clock: ManualClock
) -> None:
    given = {
        ANA: Delivered(Positions(7, 2, 4), clock()),
        Receiver.client("ana"): Delivered(Positions(3, 3, 3), clock()),
        Receiver.user("bob"): Delivered(Positions(0, 3, 10), clock()),
    }
    await store.inbox.record_delivered(given)
    await store.log.rename("otherlog", "newname0", through=1)
    assert [(await store.inbox.delivered([reader])).get(reader) for reader in given] == list(given.values())
    await store.log.rename(EPOCH, "newname0", through=3)
    kept = [(await store.inbox.delivered([reader])).get(reader) for reader in given]
    assert [record and record.positions for record in kept] == [(3, 2, 3), (3, 3, 3), (0, 3, 3)]
