"""Where a stream begins: what a request may ask, and how a cursor is judged (SPEC §2 Streams, §3.3, §3.5)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_domain.cursor import Positions, encode_cursor, encode_level
from sse_domain.errors import InvalidInput
from sse_domain.replay import MAX_STREAM_GROUPS, LogHead, ReplayMode, ResetReason, StreamRequest, judge_cursor
from tests.unit.domain.profile import PROPERTY

EPOCH, OTHER_EPOCH = "0a1b2c3d", "0a1b2c3e"
HEAD = LogHead(epoch=EPOCH, seq=20, purged_through=5)


@pytest.mark.parametrize("positions", [Positions.level(20), Positions.level(5), Positions(5, 20, 12)])
def test_a_cursor_within_the_log_is_honoured(positions: Positions) -> None:
    assert judge_cursor(encode_cursor(max(positions), EPOCH, positions), HEAD) == positions


@pytest.mark.parametrize("text", ["", "12", "garbage", "\x00", "12-0a1b2c3d-1.2", "😀"])
def test_what_is_no_cursor_is_unknown(text: str) -> None:
    assert judge_cursor(text, HEAD) is ResetReason.UNKNOWN


def test_a_cursor_of_another_log_is_told_so() -> None:
    assert judge_cursor(encode_level(12, OTHER_EPOCH), HEAD) is ResetReason.OTHER_LOG
    assert judge_cursor(encode_level(99, OTHER_EPOCH), HEAD) is ResetReason.OTHER_LOG


@pytest.mark.parametrize(
    "ahead", [Positions.level(21), Positions(20, 20, 21), Positions(21, 5, 5), Positions(0, 21, 0)]
)
def test_a_cursor_ahead_of_the_log_in_any_priority_is_unknown(ahead: Positions) -> None:
    assert judge_cursor(encode_cursor(max(ahead), EPOCH, ahead), HEAD) is ResetReason.UNKNOWN


def test_a_cursor_from_before_what_was_purged_in_any_priority_is_too_old() -> None:
    for old in (Positions.level(4), Positions(4, 20, 20), Positions(20, 4, 20), Positions(20, 20, 4)):
        assert judge_cursor(encode_cursor(max(old), EPOCH, old), HEAD) is ResetReason.TOO_OLD
    assert judge_cursor(encode_level(5, EPOCH), HEAD) == Positions.level(5)


@settings(PROPERTY)
@given(st.text())
def test_judging_never_fails(text: str) -> None:
    assert isinstance(judge_cursor(text, HEAD), (ResetReason, Positions))


def test_a_bare_request_asks_for_what_is_pending() -> None:
    request = StreamRequest()
    assert (request.replay, request.groups, request.cursor, request.unread) == (ReplayMode.PENDING, (), None, False)


def test_any_text_may_be_presented_as_a_cursor() -> None:
    assert StreamRequest(cursor="\x00 not a cursor").cursor == "\x00 not a cursor"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"client_id": ""}, "id"),
        ({"client_id": "a\n"}, "id"),
        ({"user_id": "x" * 129}, "user_id"),
        ({"groups": ("red", "")}, "group"),
        ({"event_types": ()}, "event_types"),
        ({"event_types": ("sse.open",)}, "event_types"),
    ],
)
def test_a_request_beyond_the_limits_is_refused(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        StreamRequest(**asked)
    assert refused.value.field == field


def test_as_many_groups_as_a_stream_may_have() -> None:
    most = tuple(f"g{number}" for number in range(MAX_STREAM_GROUPS))
    assert StreamRequest(groups=most + most).groups == most + most
    with pytest.raises(InvalidInput) as refused:
        StreamRequest(groups=(*most, "one more"))
    assert refused.value.code == "invalid_group"
