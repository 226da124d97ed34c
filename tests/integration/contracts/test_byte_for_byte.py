"""Every port: names are compared byte for byte, and data and times come back unchanged (SPEC §2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sse_domain.cursor import START, Positions
from sse_domain.inbox import Delivered, InboxQuery, TheseSeqs
from sse_domain.log import Entry, Outcome
from sse_domain.message import BROADCAST, MAX_DATA_BYTES, MAX_TTL_SECONDS, Draft, Priority, Receiver
from sse_domain.replay import ReadRequest
from sse_domain.subscription import Audience
from tests.support.clock import ManualClock
from tests.support.stores import Publisher, Store

EVERYTHING = ReadRequest(after=(0, 0, 0), through=10**6, limit=1000, max_bytes=10**6)

# No two are the same bytes; for each some collation, normalisation, padding or pattern takes another.
NAMES = [
    *("ana", "Ana", "ANA", "an\u00e1", "\u00e1na", "\uff41\uff4e\uff41", "\u0430na"),
    *("ana\u200b", "\ufeffana", "ana ", "ana  ", " ana", "ana\u00a0", " ", "  "),
    *("\u00e9", "e\u0301", "e", "\u0301", "\u00c9", "\u212b", "\u00c5", "A\u030a"),
    *("ss", "\u00df", "\u1e9e", "fi", "\ufb01", "i", "I", "\u0131", "\u0130", "\u03c2", "\u03c3"),
    *("\U0001f600", "\U0001f601", "\U0001f469\u200d\U0001f4bb", "\U0001f469", "\U0001f4bb"),
    *("\ud7ff", "\ue000", "\uffff", "\U0010ffff", "1", "01", "1.0", "\u0661", "\u00bd"),
    *("null", "None", "true", "[]", '"ana"', "a'b", "a''b", "a`b", "a;b--", "a/b", "a,b", "$1", ":x", "?"),
    *("a_b", "axb", "a%", "a", "a\\b", "a\\\\b", "x" * 127, "x" * 128, "x" * 127 + "y"),
    *("\U0001f600" * 128, "\U0001f600" * 127 + "\U0001f601"),
]

DATA = [
    b"null",
    b"true",
    b'""',
    b"-0",
    b"-0.0",
    b"1.0",
    b"1E400",
    b"1e-400",
    b"0.10000000000000000555",
    b"123456789012345678901234567890",
    b'"\\u0000"',
    b'"\\u0041\\/\\ud83d\\ude00\\ud800"',
    '"\u00e9 e\u0301 \U0001f600 \u2028 \u007f"'.encode(),
    b'{"b":1,"a":2,"B":3}',
    b'{"a":1,"a":2}',
    b'{"":{}}',
    b" \t\r\n[ 1 ,\t2 ]\n",
    b"[" * 2000 + b"]" * 2000,
    b'"' + b"x" * (MAX_DATA_BYTES - 2) + b'"',
    b'"' + "\U0001f600".encode() * ((MAX_DATA_BYTES - 2) // 4) + b'"',
]


def test_the_names_differ() -> None:
    assert len(set(NAMES)) == len(NAMES)


async def test_receivers_are_who_they_are_and_nobody_else(store: Store, publish: Publisher, clock: ManualClock) -> None:
    kinds = (Receiver.user, Receiver.client, Receiver.group)
    sent = {kind(name): await publish(kind(name)) for kind in kinds for name in NAMES}
    assert await store.log.read(0, 1000) == list(sent.values())
    for name in NAMES:
        audience = Audience(client_id=name, user_id=name, groups=frozenset([name]), subscriptions={})
        page = await store.log.replay(audience, EVERYTHING, clock())
        assert page.messages == tuple(sent[kind(name)] for kind in kinds)
        entries = await store.inbox.messages(InboxQuery(user_id=name), START, clock())
        assert [entry.message for entry in entries] == [sent[Receiver.user(name)]]
        assert (await store.inbox.unread([name], clock()))[name].total == 1
        for kind in kinds:
            seq = sent[kind(name)].seq
            assert await store.log.first_owed(kind(name), START, clock()) == (seq, None, None)


async def test_groups_of_a_subscription_are_what_they_are(store: Store, publish: Publisher, clock: ManualClock) -> None:
    sent = {}
    for name in NAMES:
        _, new, _ = await store.subscriptions.join("ana", name, None)
        assert new
        sent[name] = await publish(Receiver.group(name))
    for name in NAMES:
        query = InboxQuery(user_id="ana", group=name)
        entries = await store.inbox.messages(query, START, clock())
        assert [entry.message for entry in entries] == [sent[name]]
    assert (await store.inbox.unread(["ana"], clock()))["ana"].by_group == dict.fromkeys(NAMES, 1)
    for left, name in enumerate(NAMES, start=1):
        assert await store.subscriptions.leave("ana", name)
        standing = (await store.subscriptions.of_users(["ana"]))["ana"]
        assert [subscription.group for subscription in standing] == sorted(NAMES[left:])
        assert (await store.inbox.unread(["ana"], clock()))["ana"].total == len(NAMES) - left


async def test_users_of_a_subscription_are_who_they_are(store: Store, publish: Publisher, clock: ManualClock) -> None:
    for name in NAMES:
        subscription, new, _ = await store.subscriptions.join(name, "team", None)
        assert new
        assert (await store.subscriptions.of_users([name]))[name] == [subscription]
        await publish(Receiver.group("team"))
    for place, name in enumerate(NAMES):
        assert (await store.inbox.unread([name], clock()))[name].total == len(NAMES) - place
    standing = await store.subscriptions.of_group("team", 1000)
    assert [subscription.user_id for subscription in standing] == sorted(NAMES)


async def test_read_marks_and_deliveries_are_of_one_reader(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    message = await publish(BROADCAST)
    assert message.seq == 1
    for name in NAMES:
        assert await store.inbox.mark_read(name, TheseSeqs((1,)), clock()) == 1
    records = {
        kind(name): Delivered(Positions(number, 0, 0), clock())
        for kind in (Receiver.user, Receiver.client)
        for number, name in enumerate(NAMES)
    }
    await store.inbox.record_delivered(records)
    for reader, record in records.items():
        assert (await store.inbox.delivered([reader])).get(reader) == record
    assert (await store.inbox.delivered([Receiver.user("nobody")])).get(Receiver.user("nobody")) is None


async def test_event_ids_and_types_are_compared_byte_for_byte(
    store: Store, publish: Publisher, clock: ManualClock
) -> None:
    tokens = ["a", "A", "a.b", "a-b", "a:b", "a_b", "axb", "0", "00", "0.0", "z" * 64, "z" * 63 + "Z"]
    sent = [await publish(Receiver.user("ana"), event_id=token, event_type=token) for token in tokens]
    assert await store.log.find(tokens) == dict(zip(tokens, sent, strict=True))
    assert (await store.inbox.unread(["ana"], clock()))["ana"].by_event_type == dict.fromkeys(tokens, 1)
    for token, message in zip(tokens, sent, strict=True):
        query = InboxQuery(user_id="ana", event_type=token)
        assert [entry.message for entry in await store.inbox.messages(query, START, clock())] == [message]
        audience = Audience(client_id=None, user_id="ana", subscriptions={}, event_types=frozenset([token, "other"]))
        assert (await store.log.replay(audience, EVERYTHING, clock())).messages == (message,)
    await store.subscriptions.join("ana", "team", ("a.b", "A"))
    for token in tokens:
        await publish(Receiver.group("team"), event_type=token)
    assert (await store.inbox.unread(["ana"], clock()))["ana"].by_group == {"team": 2}


@pytest.mark.parametrize("data", DATA, ids=lambda data: repr(data[:24]))
async def test_data_comes_back_unchanged(store: Store, publish: Publisher, clock: ManualClock, data: bytes) -> None:
    message = await publish(Receiver.user("ana"), data=data, event_id="e")
    assert message.data == data
    assert await store.log.read(0, 1) == [message]
    assert await store.log.find(["e"]) == {"e": message}
    audience = Audience(client_id=None, user_id="ana", subscriptions={})
    assert (await store.log.replay(audience, EVERYTHING, clock())).messages == (message,)
    [entry] = await store.inbox.messages(InboxQuery(user_id="ana"), START, clock())
    assert entry.message == message
    draft = Draft(receiver=Receiver.user("ana"), event_type="note", data=data, persist=True)
    [(outcome, kept)] = (await store.log.append([Entry(draft, "e", may_repeat=True)], clock())).appended
    assert (outcome, kept) == (Outcome.REPEATED, message)


@pytest.mark.parametrize("microsecond", [0, 1, 499_999, 500_000, 999_999])
async def test_times_are_kept_to_the_microsecond_in_utc(store: Store, microsecond: int) -> None:
    now = datetime(2026, 10, 25, 0, 59, 59, microsecond, tzinfo=UTC)
    publish = Publisher(store, ManualClock(now))
    for ttl in (0.000_001, 0.1, 1 / 3, 3600, 86_400.000_001, MAX_TTL_SECONDS):
        message = await publish(Receiver.user("ana"), ttl=ttl)
        [kept] = (await store.log.find([message.event_id])).values()
        assert kept == message
        assert kept.created_at == now
        assert kept.expire_at == now + timedelta(seconds=ttl)
        assert kept.created_at.utcoffset() == kept.expire_at.utcoffset() == timedelta(0)
    await store.inbox.record_delivered({Receiver.user("ana"): Delivered(START, now)})
    delivered = (await store.inbox.delivered([Receiver.user("ana")])).get(Receiver.user("ana"))
    assert delivered is not None
    assert delivered.seen_at == now
    assert delivered.seen_at.utcoffset() == timedelta(0)


async def test_a_ttl_is_kept_exactly(store: Store, clock: ManualClock) -> None:
    draft = Draft(receiver=Receiver.user("ana"), event_type="note", data=b"1", persist=True, priority=Priority.HIGH)
    for number, ttl in enumerate((0.1, 1 / 3, 1e-9, 59.999_999_9, 3600, MAX_TTL_SECONDS)):
        entry = Entry(replace(draft, ttl=ttl), f"e{number}", may_repeat=True)
        outcomes = [(await store.log.append([entry], clock())).appended[0].outcome for _ in range(2)]
        assert outcomes == [Outcome.NEW, Outcome.REPEATED]
