"""Frames, read back by an independent reader of WHATWG HTML §9.2."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_adapters.http.frames import (
    BatchEncoder,
    MessageBatch,
    control_frame,
    first_frames,
    heartbeat_frame,
    message_frame,
)
from sse_domain.message import BROADCAST, Message, Priority
from tests.support.sse import EventStreamParser, Frame
from tests.unit.domain.profile import PROPERTY


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


def encoded(encoder: BatchEncoder, batch: MessageBatch) -> bytes:
    encoder.encode(batch)
    return encoder.frames


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(PROPERTY)
@given(values=st.lists(JSON_VALUES, max_size=5), indent=st.none() | st.sampled_from([0, "\r", "\r\n", "\t"]))
def test_any_json_in_any_layout_comes_back(values: list[object], indent: int | str | None) -> None:
    texts = [json.dumps(value, ensure_ascii=False, indent=indent) for value in values]
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    batch = [(message(text.encode()), f"{seq}-e") for seq, text in enumerate(texts)]
    frames = read(encoded(BatchEncoder(), batch))
    assert [frame.json for frame in frames] == [json.loads(text) for text in texts]
    assert [frame.id for frame in frames] == [cursor for _, cursor in batch]


def test_a_control_event_has_no_id_and_may_carry_a_retry() -> None:
    [plain, close] = read(control_frame("sse.open", {"a": "ü\n"}) + control_frame("sse.close", {}, retry_ms=3000))
    assert (plain.event, plain.json, plain.id, plain.retry) == ("sse.open", {"a": "ü\n"}, None, None)
    assert (close.event, close.json, close.id, close.retry) == ("sse.close", {}, None, 3000)


@pytest.mark.parametrize("reset", [None, "unknown"])
def test_a_stream_begins_with_retry_its_id_and_what_it_opens_with(reset: str | None) -> None:
    retry, standing, *told = read(first_frames(2000, "7-e", {"a": 1}, reset))
    assert (retry.retry, retry.dispatched) == (2000, False)
    assert (standing.id, standing.dispatched, standing.comment) == ("7-e", False, None)
    expected = [("sse.open", {"a": 1}), ("sse.reset", {"reason": reset})][: len(told)]
    assert [(frame.event, frame.json) for frame in told] == expected
    assert len(told) == (1 if reset is None else 2)


def test_a_heartbeat_moves_the_id_and_dispatches_nothing() -> None:
    [heartbeat] = read(heartbeat_frame("8-e"))
    assert (heartbeat.id, heartbeat.dispatched, heartbeat.comment) == ("8-e", False, "")


def test_a_chunk_says_how_long_its_frames_are() -> None:
    encoder = BatchEncoder()
    frames = encoded(encoder, [(message(b'"' + b"x" * 300 + b'"'), "1-e")])
    assert encoder.chunk == b"%x\r\n%b\r\n" % (len(frames), frames)


def test_nothing_is_no_chunk_for_an_empty_one_would_end_the_body() -> None:
    encoder = BatchEncoder()
    encoded(encoder, [])
    assert encoder.chunk == b""


def test_a_batch_is_encoded_once_while_it_is_the_same_object() -> None:
    encoder = BatchEncoder()
    batch = [(message(b"1"), "1-e"), (message(b"2"), "2-e")]
    first = encoded(encoder, batch)
    assert encoded(encoder, batch) is first
    assert encoded(encoder, [(message(b"3"), "3-e")]) != first
    assert encoded(encoder, batch) == first
    assert encoded(encoder, ()) == b""
