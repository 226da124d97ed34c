"""Envelopes: that they come apart as they were put together, and that what is none is found out."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import msgpack

from sse_adapters.redis.wire import MAX_NOTE_BYTES, VERSION, Unreadable, address, encoded, envelope, opened
from sse_domain.message import BROADCAST, MAX_DATA_BYTES, Message, Priority, Receiver, ReceiverType
from sse_domain.notes import Answer, Committed, EndStreams, HasRead, LearnMemberships, Note, Passing
from sse_domain.replay import LogHead
from tests.unit.domain.profile import PROPERTY

AT = datetime(2026, 3, 4, 5, 6, 7, 890_123, tzinfo=UTC)
HEAD = LogHead(epoch="tests123", seq=9)

numbers = st.integers(0, 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)
times = st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(fold=0))
receivers = st.just(BROADCAST) | st.builds(Receiver, st.sampled_from(ReceiverType), texts)
messages = st.builds(
    Message,
    texts,
    st.none() | numbers,
    texts,
    receivers,
    st.sampled_from(Priority),
    st.binary(max_size=300),
    times,
    st.none() | st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    st.none() | times,
)
many = st.lists(messages, max_size=3).map(tuple)
heads = st.builds(LogHead, epoch=texts, seq=numbers, purged_through=numbers, memberships=numbers)
notes = st.one_of(
    st.builds(Committed, heads, many),
    st.builds(Passing, texts, numbers, many),
    st.builds(HasRead, texts),
    st.builds(EndStreams, texts, receivers, st.booleans()),
    st.builds(LearnMemberships, texts, texts, numbers),
    st.builds(Answer, texts, numbers),
)


def message(number: int, size: int) -> Message:
    return Message(f"event-{number}", None, "a", BROADCAST, Priority.NORMAL, b"x" * size, AT)


def parts(note: Note) -> list[Note]:
    """What is heard of a note."""
    return [part for one in encoded(note) for part in opened(envelope(address("a"), [one]))[1]]


@settings(PROPERTY)
@given(texts.filter(lambda text: len(text.encode()) < 256), st.lists(notes, max_size=5))
def test_notes_come_out_of_an_envelope_as_they_went_in(node_id: str, told: list[Note]) -> None:
    published = envelope(address(node_id), [part for note in told for part in encoded(note)])
    assert published.startswith(address(node_id))
    # Equal is not enough: an enumeration's member equals its value.
    assert repr(opened(published)) == repr((node_id, told))


@pytest.mark.parametrize(("one", "other"), [("a", "ab"), ("ab", "a"), ("a", "b"), ("ü", "u"), ("", "a")])
def test_a_node_does_not_take_anothers_envelope_for_its_own(one: str, other: str) -> None:
    assert not envelope(address(one), encoded(HasRead("ana"))).startswith(address(other))


def test_a_commit_with_too_many_messages_goes_without_them() -> None:
    fits = Committed(HEAD, (message(1, MAX_DATA_BYTES // 2), message(2, MAX_DATA_BYTES // 3)))
    assert parts(fits) == [fits]
    assert parts(Committed(HEAD, (*fits.messages, message(3, MAX_DATA_BYTES // 3)))) == [Committed(HEAD)]
    assert parts(Committed(HEAD, tuple(message(number, 2) for number in range(2000)))) == [Committed(HEAD)]


@pytest.mark.parametrize(
    ("count", "size"), [(1, 2), (2, 2), (2500, 2), (1, MAX_DATA_BYTES), (3, MAX_DATA_BYTES), (50, 20_000)]
)
def test_passing_messages_that_are_too_many_are_divided_and_their_count_goes_on(count: int, size: int) -> None:
    told = tuple(message(number, size) for number in range(count))
    passing = Passing("tests123", 100, told)
    heard = [part for part in parts(passing) if isinstance(part, Passing)]
    assert [one for part in heard for one in part.messages] == list(told)
    assert heard[0].first == 100
    for part, following in pairwise(heard):
        assert following.first == part.first + len(part.messages)
    assert max(len(one) for one in encoded(passing)) <= MAX_NOTE_BYTES + 256


@pytest.mark.parametrize(
    "published",
    [
        b"",
        b"\x01",
        b"hello",
        b'{"json": true}',
        bytes((VERSION + 1,)) + envelope(address("a"), encoded(HasRead("ana")))[1:],
        envelope(address("a"), encoded(HasRead("ana")))[:-1],
        envelope(address("a"), encoded(HasRead("ana"))) + b"\x00",
        envelope(b"\x01\x01\xff", encoded(HasRead("ana"))),
        envelope(address("a"), [msgpack.encode([99, "a note of a later version"])]),
        envelope(address("a"), [msgpack.encode([2])]),
        envelope(address("a"), [msgpack.encode([2, 5])]),
        envelope(address("a"), [b"\x92\x02\xa1\xff"]),
        envelope(address("a"), [msgpack.encode(None)]),
    ],
)
def test_what_is_no_envelope_of_this_version_is_unreadable(published: bytes) -> None:
    with pytest.raises(Unreadable):
        opened(published)


@settings(PROPERTY)
@given(st.binary())
def test_garbage_is_unreadable_and_nothing_worse(garbage: bytes) -> None:
    with suppress(Unreadable):
        opened(bytes((VERSION,)) + garbage)


def test_a_field_that_a_later_version_adds_at_the_end_is_not_looked_at() -> None:
    [note] = opened(envelope(address("a"), [msgpack.encode([2, "ana", "more"])]))[1]
    assert note == HasRead("ana")
