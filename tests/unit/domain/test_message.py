"""Messages and drafts: SPEC §2's limits from both sides, expiry, and what counts as the same content."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_domain.errors import InvalidInput, TooLarge
from sse_domain.message import (
    BROADCAST,
    MAX_DATA_BYTES,
    MAX_TTL_SECONDS,
    Draft,
    Priority,
    Receiver,
    accept,
    check_event_type,
    check_identifier,
    fingerprint,
    same_content,
)
from tests.unit.domain.profile import PROPERTY
from tests.unit.domain.store import DAWN, draft

TOKEN_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-"


@pytest.mark.parametrize("value", ["a", "x" * 128, "é" * 128, "😀" * 128, "trailing ", " ", "Ünï/códe?&=", "\u2028"])
def test_identifiers_are_taken_as_they_are(value: str) -> None:
    assert check_identifier("user_id", value) == value


@pytest.mark.parametrize("value", ["", "x" * 129, "a\n", "\ud800", "a\udfffb"])
def test_identifiers_beyond_the_limits_are_refused(value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_identifier("group", value)
    assert (refused.value.field, refused.value.code) == ("group", "invalid_group")


def test_exactly_the_control_characters_and_surrogates_are_refused() -> None:
    def taken(code: int) -> bool:
        try:
            check_identifier("user_id", f"a{chr(code)}b")
        except InvalidInput:
            return False
        return True

    controls = {*range(0x20), *range(0x7F, 0xA0)}
    assert {code for code in range(0x300) if not taken(code)} == controls
    assert not any(taken(code) for code in (0xD800, 0xDBFF, 0xDC00, 0xDFFF))
    assert all(taken(code) for code in (0xD7FF, 0xE000, 0xFEFF, 0x10FFFF))


def test_receivers_check_their_identifier() -> None:
    for make, field in (
        (Receiver.user, "user_id"),
        (Receiver.client, "client_id"),
        (Receiver.group, "group"),
    ):
        assert make("x").id == "x"
        with pytest.raises(InvalidInput) as refused:
            make("a\r")
        assert refused.value.field == field
    assert BROADCAST.id is None


@pytest.mark.parametrize(
    "value", ["a", "x" * 64, TOKEN_LETTERS[:64], TOKEN_LETTERS[2:], "SSE.x", "ssex", "sse", "a.sse."]
)
def test_event_types_within_the_limits(value: str) -> None:
    assert check_event_type(value) == value


@pytest.mark.parametrize("value", ["", "x" * 65, "a b", "a\n", "a\x00", "é", "a/b", "sse.", "sse.open"])
def test_event_types_beyond_the_limits(value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_event_type(value)
    assert refused.value.code == "invalid_event_type"
    with pytest.raises(InvalidInput):
        replace(draft(BROADCAST), event_type=value)


def test_data_up_to_the_limit() -> None:
    assert len(replace(draft(BROADCAST), data=b"1" * MAX_DATA_BYTES).data) == MAX_DATA_BYTES
    with pytest.raises(TooLarge) as refused:
        replace(draft(BROADCAST), data=b"1" * (MAX_DATA_BYTES + 1))
    assert refused.value.code == "data_too_large"


@pytest.mark.parametrize("ttl", [1e-6, 1, 3600.5, MAX_TTL_SECONDS])
def test_ttl_within_the_limits(ttl: float) -> None:
    assert replace(draft(BROADCAST), ttl=ttl).ttl == ttl


@pytest.mark.parametrize("ttl", [0, -0.0, -1, MAX_TTL_SECONDS + 1, float("inf"), float("-inf"), float("nan")])
def test_ttl_beyond_the_limits(ttl: float) -> None:
    with pytest.raises(InvalidInput) as refused:
        replace(draft(BROADCAST), ttl=ttl)
    assert refused.value.code == "invalid_ttl"


@pytest.mark.parametrize("event_id", ["a", "x" * 64, "5-0a1b2c3d", "sse.mine"])
def test_event_ids_within_the_limits(event_id: str) -> None:
    assert replace(draft(BROADCAST), event_id=event_id).event_id == event_id


@pytest.mark.parametrize("event_id", ["", "x" * 65, "a\n", "a\r", "\x00", "a b", "é"])
def test_event_ids_beyond_the_limits(event_id: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        replace(draft(BROADCAST), event_id=event_id)
    assert refused.value.code == "invalid_event_id"


def test_an_accepted_message_says_what_its_draft_asked_for() -> None:
    asked = draft(Receiver.group("red"), priority=Priority.HIGH, ttl=2, event_type="rank", data=b"[1.0]")
    message = accept(asked, event_id="e1", seq=7, now=DAWN)
    assert (message.event_id, message.seq, message.created_at) == ("e1", 7, DAWN)
    assert (message.receiver, message.event_type, message.priority) == (asked.receiver, "rank", Priority.HIGH)
    assert (message.data, message.ttl, message.expire_at) == (b"[1.0]", 2, DAWN + timedelta(seconds=2))
    assert accept(replace(asked, ttl=None), event_id="e1", seq=None, now=DAWN).expire_at is None


def test_a_message_is_expired_from_the_very_instant_on() -> None:
    message = accept(draft(BROADCAST, ttl=2), event_id="e", seq=1, now=DAWN)
    assert not message.expired(DAWN + timedelta(seconds=2, microseconds=-1))
    assert message.expired(DAWN + timedelta(seconds=2))
    assert message.expired(DAWN + timedelta(days=1))
    assert not accept(draft(BROADCAST), event_id="e", seq=1, now=DAWN).expired(DAWN + timedelta(days=9999))


def repeats(first: Draft, again: Draft) -> bool:
    return same_content(again, accept(first, event_id="e", seq=1 if first.persist else None, now=DAWN))


ASKED = draft(Receiver.user("ana"), priority=Priority.HIGH, ttl=2, data=b'{"a": 1, "b": [true, null]}')


def test_a_repeat_is_the_same_content() -> None:
    assert repeats(ASKED, ASKED)
    assert repeats(ASKED, replace(ASKED, event_id="another"))


@pytest.mark.parametrize(
    "other",
    [
        replace(ASKED, receiver=Receiver.user("ben")),
        replace(ASKED, receiver=Receiver.client("ana")),
        replace(ASKED, event_type="b"),
        replace(ASKED, priority=Priority.URGENT),
        replace(ASKED, ttl=3),
        replace(ASKED, ttl=None),
        replace(ASKED, persist=False),
        replace(ASKED, data=b'{"a": 1}'),
    ],
    ids=["receiver", "receiver type", "event type", "priority", "ttl", "no ttl", "ephemeral", "data"],
)
def test_any_difference_is_other_content(other: Draft) -> None:
    assert not repeats(ASKED, other)
    assert not repeats(other, ASKED)
    assert fingerprint(ASKED) != fingerprint(other)


@pytest.mark.parametrize(
    ("first", "again", "same"),
    [
        (b'{"a":1,"b":2}', b' {"a" : 1,\n\t"b":2}\r', True),
        (b'{"a":1,"b":2}', b'{"b":2,"a":1}', True),
        (b'[{"a":{"b":1,"c":2}}]', b'[{"a":{"c":2,"b":1}}]', True),
        (b"[]", b"{}", False),
        (b'["number","1"]', b"1", False),
        (b'["object",[]]', b"{}", False),
        (b'{"a":1,"a":2}', b'{"a":2}', False),
        (b'"a  b"', b'"a b"', False),
        (b'["\\\\" , 1]', b'["\\\\",1]', True),
        (b'["\\"  ", 1]', b'["\\" ", 1]', False),
        (b'[{"a":{"b":1,"c":2}}]', b'[ {"a": {"b":1,"c" :2}} ]', True),
        (b"[1,2]", b"[2,1]", False),
        (b"1", b"1.0", False),
        (b"100", b"1e2", False),
        (b"0", b"-0", False),
        (b"1", b'"1"', False),
        (b"1", b"true", False),
        (b"0", b"false", False),
        (b"0", b"null", False),
        (b'{"a":1}', b'{"a":1.0}', False),
        (b'{"a":1}', b'{"a":1,"b":1}', False),
        (b'"\\u0000"', b'"\\u0000"', True),
        (b"9" * 5000, b" " + b"9" * 5000, True),
        (b"9" * 5000, b"9" * 4999 + b"8", False),
    ],
)
def test_data_is_compared_by_what_a_reader_gets(first: bytes, again: bytes, same: bool) -> None:
    one, other = replace(ASKED, data=first), replace(ASKED, data=again)
    assert repeats(one, other) is same
    assert (fingerprint(one) == fingerprint(other)) is same
    assert repeats(replace(ASKED, data=again), replace(ASKED, data=first)) is same


@settings(PROPERTY)
@given(st.integers(1, 2000))
def test_data_of_any_depth_can_be_compared(depth: int) -> None:
    deep = b"[" * depth + b"1" + b"]" * depth
    assert repeats(replace(ASKED, data=deep), replace(ASKED, data=deep))
    assert not repeats(replace(ASKED, data=deep), replace(ASKED, data=deep.replace(b"1", b"2")))
