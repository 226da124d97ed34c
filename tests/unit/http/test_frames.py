"""Frames, read back by an independent reader of WHATWG HTML §9.2."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_adapters.http.frames import BatchEncoder, control_frame, message_frame, retry_frame, standing_frame
from sse_domain.message import BROADCAST, Message, Priority
from tests.support.sse import EventStreamParser, Frame


def message(data: bytes, event_type: str = "t") -> Message:
    return Message(
        event_id="e1",
        seq=1,
        event_type=event_type,
        receiver=BROADCAST,
        priority=Priority.NORMAL,
        data=data,
        created_at=datetime(2025, 1, 1, tzinfo=UTC),
    )


def read(frames: bytes) -> list[Frame]:
    return EventStreamParser().feed(frames)


def test_a_message_is_its_type_its_data_and_its_cursor() -> None:
    [frame] = read(message_frame(message(b'{"a":1}', "rank.update"), "42-epoch123"))
    assert (frame.event, frame.data, frame.id) == ("rank.update", '{"a":1}', "42-epoch123")


def test_an_ephemeral_message_has_no_id_line() -> None:
    assert b"id:" not in message_frame(message(b"1"), None)


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", "\n\n", "\r\r", "\n\r", "\r\n\r\n"])
def test_line_breaks_between_tokens_do_not_end_the_data(line_break: str) -> None:
    data = f'{line_break}{{{line_break}"a":{line_break}"data: id: x"{line_break}}}{line_break}'
    [frame] = read(message_frame(message(data.encode()), "1-e"))
    assert frame.data == data.replace("\r\n", "\n").replace("\r", "\n")
    assert frame.json == {"a": "data: id: x"}


@pytest.mark.parametrize("data", ["", " 1", "  1", ":1", "\ufeff1", "1 ", "\u2028\u0085\x0b\x0c1"])
def test_data_is_given_to_the_byte(data: str) -> None:
    [frame] = read(message_frame(message(data.encode()), None))
    assert frame.data == data


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(values=st.lists(JSON_VALUES, max_size=5), indent=st.none() | st.sampled_from([0, "\r", "\r\n", "\t"]))
def test_any_json_in_any_layout_comes_back(values: list[object], indent: int | str | None) -> None:
    texts = [json.dumps(value, ensure_ascii=False, indent=indent) for value in values]
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    batch = [(message(text.encode()), f"{seq}-e") for seq, text in enumerate(texts)]
    frames = read(BatchEncoder().encode(batch))
    assert [frame.json for frame in frames] == [json.loads(text) for text in texts]
    assert [frame.id for frame in frames] == [cursor for _, cursor in batch]


def test_a_control_event_has_no_id_and_may_carry_a_retry() -> None:
    [plain, close] = read(control_frame("sse.open", {"a": "ü\n"}) + control_frame("sse.close", {}, retry_ms=3000))
    assert (plain.event, plain.json, plain.id, plain.retry) == ("sse.open", {"a": "ü\n"}, None, None)
    assert (close.event, close.json, close.id, close.retry) == ("sse.close", {}, None, 3000)


def test_an_id_only_frame_moves_the_id_and_dispatches_nothing() -> None:
    [standing, heartbeat] = read(standing_frame("7-e", heartbeat=False) + standing_frame("8-e", heartbeat=True))
    assert (standing.id, standing.dispatched, standing.comment) == ("7-e", False, None)
    assert (heartbeat.id, heartbeat.dispatched, heartbeat.comment) == ("8-e", False, "")


def test_retry_dispatches_nothing() -> None:
    [frame] = read(retry_frame(2000))
    assert (frame.retry, frame.dispatched) == (2000, False)


def test_a_batch_is_encoded_once_while_it_is_the_same_object() -> None:
    encoder = BatchEncoder()
    batch = [(message(b"1"), "1-e"), (message(b"2"), "2-e")]
    first = encoder.encode(batch)
    assert encoder.encode(batch) is first
    assert encoder.encode([(message(b"3"), "3-e")]) != first
    assert encoder.encode(batch) == first
    assert encoder.encode(()) == b""
