"""Bodies, queries and paths: what is read from well-formed ones. What is refused is tested over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sse_adapters.http.body import MAX_FAULTS, decode_json
from sse_adapters.http.parameters import GROUP, LIMIT, SINCE, USER_ID, USERS, read_since
from sse_adapters.http.paths import last_segment, segments_below
from sse_adapters.http.problems import BadRequest
from sse_adapters.http.query import read_query
from sse_adapters.http.schemas import SendToOne, Unsubscribe
from sse_domain.errors import InvalidInput
from sse_domain.message import Priority, Receiver, ReceiverType


@pytest.mark.parametrize(
    "data",
    [
        b"1.0",
        b"-0",
        b"1E+2",
        b"123456789012345678901234567890.10",
        b"1e400",
        b'"\\u0000\\ud83d\\ude00\xf0\x9f\x98\x80"',
        b'{ "b" : 1,\r\n "a" : [ ] , "b" : 2 }',
        b"null",
    ],
)
def test_data_is_the_publishers_own_bytes(data: bytes) -> None:
    draft = decode_json(b'{"data":  %b , "event_type":"t"}' % data, SendToOne).draft(Receiver(ReceiverType.BROADCAST))
    assert draft.data == data
    assert (draft.persist, draft.priority, draft.ttl, draft.event_id) == (False, Priority.NORMAL, None, None)


def test_only_so_many_faults_are_told() -> None:
    body = b"{%b}" % b",".join(b'"field%d":1' % number for number in range(1000))
    with pytest.raises(BadRequest) as refused:
        decode_json(body, Unsubscribe)
    assert len(refused.value.faults) == MAX_FAULTS


def test_a_name_that_is_not_ours_is_cut_short() -> None:
    with pytest.raises(BadRequest) as refused:
        decode_json(b'{"user_id":"u","group":"g","%b":1}' % (b"x" * 10_000), Unsubscribe)
    assert refused.value.code == "unknown_field"
    assert len(refused.value.faults[0].field) == 64


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-02-29T12:00:00Z", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        ("2024-02-29t12:00:00.5z", datetime(2024, 2, 29, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2024-02-29T12:00:00+02:00", datetime(2024, 2, 29, 10, tzinfo=UTC)),
        ("2024-02-29T12:00:00 02:00", datetime(2024, 2, 29, 10, tzinfo=UTC)),
        ("2024-02-29 12:00:00-02:30", datetime(2024, 2, 29, 14, 30, tzinfo=UTC)),
        ("1900-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1700000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("1700000000.25", datetime(2023, 11, 14, 22, 13, 20, 250_000, tzinfo=UTC)),
        ("17e8", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("1e-300", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1e300", datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC)),
        ("99999999999", datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC)),
    ],
)
def test_a_time_may_be_spelt_in_two_ways(text: str, moment: datetime) -> None:
    assert read_since(text) == moment
    assert read_since(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "nan",
        "inf",
        "-1",
        "1.",
        ".5",
        "\u0661",
        "123456789012",
        "2024-02-30T00:00:00Z",
        "2024-02-29",
        "2024-02-29T12:00:00",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "2024-02-29T12:00:00Z ",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_since(text)


def test_a_query_is_read_by_its_parameters() -> None:
    query = read_query(b"user_id=a%2Bb+c&limit=007&group=%F0%9F%98%80", (USER_ID, LIMIT, GROUP, SINCE))
    assert (query[USER_ID], query.get(LIMIT), query.get(GROUP), query.get(SINCE)) == ("a+b c", 7, "😀", None)


def test_a_parameter_that_repeats_keeps_its_order() -> None:
    assert read_query(b"user_id=b&user_id=a&user_id=b", (USERS,)).all(USERS) == ("b", "a", "b")


def test_every_wrong_parameter_is_told() -> None:
    with pytest.raises(BadRequest) as refused:
        read_query(b"limit=0&limit=1&grupp=x&group=", (USER_ID, LIMIT, GROUP))
    assert [fault.field for fault in refused.value.faults] == ["user_id", "limit", "group", "grupp"]


def test_a_query_of_endless_parameters_is_refused() -> None:
    with pytest.raises(BadRequest, match="too many"):
        read_query(b"&".join([b"a=1"] * 10_000), (USER_ID,))


@pytest.mark.parametrize(
    ("raw_path", "below", "segments"),
    [
        (b"/api/stream", "/", []),
        (b"/api/stream/", "/", [""]),
        (b"/api/stream/u", "/u/", ["u"]),
        (b"/api/stream/g/u", "/g/u/", ["g", "u"]),
        (b"/api/stream/g%2Fu", "/g/u/", ["g/u"]),
        (b"/api/stream/stream/stream", "/stream/stream/", ["stream", "stream"]),
        (b"/stream/stream", "/", []),
        (b"/api/stream//u", "/u/", ["", "u"]),
        (b"/api/stream/%2F/u", "/u/", ["/", "u"]),
        (b"/api/stream/a%2F%2Fb", "/a/b/", ["a//b"]),
        (b"/api/stream/%C3%BC+%2B", "/ü++/", ["ü++"]),
        (b"/api/stream/%2E%2E/u", "/../u/", ["..", "u"]),
    ],
)
def test_segments_are_read_as_they_were_sent(raw_path: bytes, below: str, segments: list[str]) -> None:
    assert segments_below({"raw_path": raw_path, "path": below}, below) == segments


def test_a_server_without_raw_paths_will_do() -> None:
    scope = {"path": "/api/group/ü x", "path_template": "/api/group/{group}"}
    assert last_segment(scope) == "ü x"


def test_a_path_of_endless_segments_is_refused() -> None:
    with pytest.raises(BadRequest):
        segments_below({"raw_path": b"/a" * 50_000, "path": "/"}, "/a/b/")
