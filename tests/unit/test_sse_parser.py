"""The event-stream parser that the tests read streams with, held to WHATWG HTML §9.2.5–9.2.6."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sse import EventStreamParser, Frame
from tests.unit.domain.profile import PROPERTY


def frames_of(stream: bytes) -> list[Frame]:
    return EventStreamParser().feed(stream)


def test_a_frame_holds_type_data_and_id() -> None:
    assert frames_of(b'event: alert\ndata: {"a": 1}\nid: 7-x\n\n') == [
        Frame(event="alert", data='{"a": 1}', id="7-x", last_event_id="7-x")
    ]


def test_data_is_decoded_as_json_on_request() -> None:
    assert frames_of(b'data: {"a": 1}\n\n')[0].json == {"a": 1}


def test_a_frame_without_data_has_no_json() -> None:
    with pytest.raises(ValueError, match="without data"):
        _ = frames_of(b"id: 1\n\n")[0].json


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_of_the_standard_ends_lines(line_end: bytes) -> None:
    stream = line_end.join([b"event: a", b"data: 1", b"data: 2", b"", b"data: 3", b"", b""])
    assert [(frame.event, frame.data) for frame in frames_of(stream)] == [("a", "1\n2"), ("message", "3")]


def test_a_line_feed_after_a_carriage_return_ends_no_second_line_when_split_from_it() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"data: 1\r") == []
    assert parser.feed(b"\ndata: 2\r\n\r") == [Frame(data="1\n2")]
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: 3\n\n") == [Frame(data="3")]


def test_an_id_only_frame_moves_the_last_event_id_and_is_not_dispatched() -> None:
    parser = EventStreamParser()
    (frame,) = parser.feed(b"id: 12\n\n")
    assert frame == Frame(id="12", last_event_id="12")
    assert not frame.dispatched
    assert parser.last_event_id == "12"


def test_a_frame_without_id_keeps_the_last_one() -> None:
    assert [(frame.id, frame.last_event_id) for frame in frames_of(b"id: 1\ndata: a\n\ndata: b\n\n")] == [
        ("1", "1"),
        (None, "1"),
    ]


def test_an_empty_id_resets_the_last_one() -> None:
    assert frames_of(b"id: 1\n\nid\ndata: a\n\n")[-1] == Frame(data="a", id="", last_event_id="")


def test_an_id_with_nul_is_ignored() -> None:
    assert frames_of(b"id: 1\n\nid: 2\x003\ndata: a\n\n")[-1] == Frame(data="a", last_event_id="1")


def test_a_parser_can_begin_with_the_id_that_the_client_resumed_with() -> None:
    parser = EventStreamParser("41")
    assert parser.feed(b"data: a\n\n") == [Frame(data="a", last_event_id="41")]


def test_a_frame_cut_off_by_the_end_is_not_given_and_its_id_does_not_count() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n") == [Frame(data="a", id="1", last_event_id="1")]
    assert parser.last_event_id == "1"


def test_empty_data_is_dispatched_and_missing_data_is_not() -> None:
    empty, missing = frames_of(b"data\n\nevent: a\n\n")
    assert (empty.data, empty.dispatched) == ("", True)
    assert (missing.data, missing.dispatched) == (None, False)


def test_a_type_does_not_outlive_its_frame() -> None:
    assert [frame.event for frame in frames_of(b"event: a\n\ndata: 1\n\n")] == ["a", "message"]


def test_one_space_after_the_colon_is_not_part_of_the_value() -> None:
    assert frames_of(b"data:  two\ndata:none\n\n")[0].data == " two\nnone"


def test_comments_are_kept_and_dispatch_nothing() -> None:
    (frame,) = frames_of(b": heartbeat\n:\n\n")
    assert (frame.comment, frame.dispatched) == ("heartbeat\n", False)


def test_unknown_fields_are_ignored() -> None:
    assert frames_of(b"dat: 1\nDATA: 2\ndata: 3\n\n") == [Frame(data="3")]


@pytest.mark.parametrize("value", [b"", b"1.5", b"-1", b"1s", "٣".encode()])
def test_a_retry_that_is_not_digits_is_ignored(value: bytes) -> None:
    parser = EventStreamParser()
    assert parser.feed(b"retry: 250\n\nretry: " + value + b"\n\n") == [Frame(retry=250), Frame()]
    assert parser.reconnection_time == 250


def test_blank_lines_alone_are_no_frames() -> None:
    assert frames_of(b"\n\r\n\n\rdata: 1\n\n\n\n") == [Frame(data="1")]


def test_one_byte_order_mark_at_the_start_is_dropped_and_no_other() -> None:
    mark = "\ufeff".encode()
    assert frames_of(mark + b"data: 1\n\n" + mark + b"data: 2\n\n") == [Frame(data="1"), Frame()]


def test_bytes_that_are_not_utf8_become_replacement_characters() -> None:
    assert frames_of(b"data: a\xffb\xe2\x82\n\n")[0].data == "a\ufffdb\ufffd"


field_pieces = [b"data", b"id", b"event", b"retry", b":", b" ", b"7", b"\0"]
text_pieces = ["é€𝄞".encode(), b"\xff", b"\xef\xbb\xbf"]
line_ends = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n"]
stream_pieces = st.lists(st.sampled_from(field_pieces + text_pieces + line_ends), max_size=40)


@settings(PROPERTY)
@given(pieces=stream_pieces, cuts=st.sets(st.integers(min_value=0, max_value=120)))
def test_how_the_bytes_are_split_changes_nothing(pieces: list[bytes], cuts: set[int]) -> None:
    stream = b"".join(pieces)
    parser = EventStreamParser()
    bounds = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    split = [frame for begin, end in pairwise(bounds) for frame in parser.feed(stream[begin:end])]
    whole = EventStreamParser()
    assert split == whole.feed(stream)
    assert parser.last_event_id == whole.last_event_id
