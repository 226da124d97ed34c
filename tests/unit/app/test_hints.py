"""What is kept of what other nodes say they have committed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sse_app.hints import Hints
from sse_domain.message import BROADCAST, Message, Priority

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def messages(*seqs: int, size: int = 1) -> list[Message]:
    return [Message(f"e{seq}", seq, "t", BROADCAST, Priority.NORMAL, b"1" * size, NOON) for seq in seqs]


def following(hints: Hints, after: int, through: int = 1000, limit: int = 1000) -> list[int | None]:
    return [message.seq for message in hints.following(after, through, limit)]


def test_what_follows_without_a_hole_is_given_once_whatever_order_it_came_in() -> None:
    hints = Hints()
    hints.add(messages(5, 2, 3))
    hints.add(messages(3, 1, 2))
    assert following(hints, 0) == [1, 2, 3]
    assert following(hints, 0) == following(hints, 3) == []
    assert following(hints, 4) == [5]


def test_no_more_is_given_than_was_asked_for() -> None:
    hints = Hints()
    hints.add(messages(*range(1, 10)))
    assert following(hints, 0, through=2) == [1, 2]
    assert following(hints, 2, limit=3) == [3, 4, 5]
    assert following(hints, 5, through=5) == []
    assert following(hints, 5) == [6, 7, 8, 9]


def test_no_more_messages_are_kept_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_app.hints.MAX_MESSAGES", 3)
    hints = Hints()
    hints.add(messages(1, 2, 2, 3, 4))
    assert following(hints, 0, limit=1) == [1]
    hints.add(messages(5, 6))
    assert following(hints, 1) == [2, 3]
    assert following(hints, 4) == [5]


def test_no_more_data_is_kept_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_app.hints.MAX_BYTES", 10)
    hints = Hints()
    hints.add(messages(1, 2, 3, size=4))
    assert following(hints, 0) == [1, 2]
    hints.add(messages(3, size=10))
    hints.add(messages(4))
    assert following(hints, 2) == [3]


@pytest.mark.parametrize("how", ["given", "forgotten", "cleared"])
def test_what_is_kept_no_longer_takes_no_room(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr("sse_app.hints.MAX_MESSAGES", 2)
    monkeypatch.setattr("sse_app.hints.MAX_BYTES", 8)
    hints = Hints()
    for first in range(1, 20, 2):
        hints.add(messages(first, first + 1, size=4))
        if how == "given":
            assert following(hints, first - 1) == [first, first + 1]
        elif how == "forgotten":
            hints.forget(first + 1)
        else:
            hints.clear()
        assert following(hints, first - 1) == []
    hints.add(messages(30, 31, size=4))
    assert following(hints, 29) == [30, 31]


def test_what_lies_beyond_is_not_forgotten() -> None:
    hints = Hints()
    hints.add(messages(3, 4, 5, 6))
    hints.forget(4)
    assert following(hints, 2) == []
    assert following(hints, 4) == [5, 6]


def test_of_a_log_that_is_gone_nothing_is_known() -> None:
    hints = Hints()
    hints.add(messages(1, 2))
    hints.seq, hints.memberships, hints.foreign = 2, 3, True
    hints.clear()
    assert (hints.seq, hints.memberships, hints.foreign, following(hints, 0)) == (0, 0, False, [])
