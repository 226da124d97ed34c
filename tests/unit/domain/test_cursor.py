"""The cursor's grammar: what is written is read back, and nothing else is taken for one."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sse_domain.cursor import MAX_SEQ, START, Cursor, Positions, encode_cursor, encode_level, parse_cursor
from tests.unit.domain.profile import PROPERTY

EPOCH = "0a1b2c3z"
GRAMMAR = re.compile(r"[0-9A-Za-z._-]{1,64}")
seqs = st.one_of(st.integers(0, MAX_SEQ), st.integers(0, 50), st.integers(MAX_SEQ - 50, MAX_SEQ))
positions = st.builds(Positions, seqs, seqs, seqs)


@settings(PROPERTY)
@given(seqs, positions)
@example(MAX_SEQ, Positions(MAX_SEQ, MAX_SEQ - 1, MAX_SEQ))
@example(0, START)
@example(35, Positions(35, 36, 37))
def test_every_cursor_is_read_back_and_keeps_to_the_grammar(seq: int, places: Positions) -> None:
    text = encode_cursor(seq, EPOCH, places)
    assert parse_cursor(text) == Cursor(seq, EPOCH, places)
    assert GRAMMAR.fullmatch(text)
    leading = re.match("[0-9]+", text)
    assert leading is not None
    assert int(leading[0]) == seq


@settings(PROPERTY)
@given(seqs)
def test_a_level_cursor_is_short_and_the_same_for_every_stream(seq: int) -> None:
    assert encode_level(seq, EPOCH) == encode_cursor(seq, EPOCH, Positions.level(seq)) == f"{seq}-{EPOCH}"
    assert parse_cursor(encode_level(seq, EPOCH)) == Cursor(seq, EPOCH, Positions.level(seq))


def test_the_longest_cursor_fits() -> None:
    longest = encode_cursor(MAX_SEQ, EPOCH, Positions(MAX_SEQ, MAX_SEQ, MAX_SEQ - 1))
    assert len(longest.encode()) <= 64


@settings(PROPERTY)
@given(st.one_of(st.text(), st.text("0123456789-.abcz", max_size=70)))
def test_any_text_is_a_cursor_or_none(text: str) -> None:
    parsed = parse_cursor(text)
    if parsed is not None:
        assert GRAMMAR.fullmatch(text)
        assert parse_cursor(encode_cursor(*parsed)) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "-",
        "5-",
        f"-{EPOCH}",
        f"5-{EPOCH}-",
        f"5-{EPOCH}-1.2",
        f"5-{EPOCH}-1.2.3.4",
        f"5-{EPOCH}-1.2.",
        f"5-{EPOCH}\n",
        f" 5-{EPOCH}",
        f"5-{EPOCH.upper()}",
        f"5-{EPOCH}-A.2.3",
        f"5-{EPOCH[:-1]}",
        f"5-{EPOCH}0",
        f"+5-{EPOCH}",
        f"\N{ARABIC-INDIC DIGIT FIVE}-{EPOCH}",
        f"{MAX_SEQ + 1}-{EPOCH}",
        f"5-{EPOCH}-1.2.zzzzzzzzzzz",
        f"{'9' * 400}-{EPOCH}",
        "\x00",
        "\ud800",
    ],
)
def test_what_is_no_cursor(text: str) -> None:
    assert parse_cursor(text) is None


@settings(PROPERTY)
@given(positions, positions)
def test_furthest_and_nearest_go_by_priority(one: Positions, other: Positions) -> None:
    assert one.furthest(other) == other.furthest(one) == tuple(max(pair) for pair in zip(one, other, strict=True))
    assert one.nearest(other) == other.nearest(one) == tuple(min(pair) for pair in zip(one, other, strict=True))
