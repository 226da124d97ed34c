"""The queue of what is told: bounded, in order, and never without the newest head."""

from __future__ import annotations

from sse_adapters.redis.waiting import ENVELOPE_BYTES, ENVELOPE_NOTES, MAX_BYTES, MAX_NOTES, MAX_SECONDS, WaitingNotes
from sse_adapters.redis.wire import address, encoded, envelope, opened
from sse_domain.notes import Committed, HasRead, Note
from sse_domain.replay import LogHead

NOW = 1000.0


def mark(number: int) -> HasRead:
    return HasRead(f"user-{number}")


def commit(seq: int, *, epoch: str = "tests123", memberships: int = 0) -> Committed:
    return Committed(LogHead(epoch=epoch, seq=seq, memberships=memberships))


def taken(waiting: WaitingNotes) -> list[Note]:
    return opened(envelope(address("a"), waiting.take(NOW)))[1]


def all_taken(waiting: WaitingNotes) -> list[Note]:
    """What is published of all that waits, in order."""
    notes: list[Note] = []
    while waiting:
        notes += taken(waiting)
        waiting.published()
    return notes


def test_what_has_gathered_is_taken_at_once_and_in_order() -> None:
    waiting = WaitingNotes()
    assert not waiting
    assert taken(waiting) == []
    told: list[Note] = [mark(1), commit(1), mark(2)]
    for note in told:
        waiting.add(note, NOW)
    assert taken(waiting) == told
    assert waiting, "it is not known to be published"
    assert waiting.published() == 3
    assert not waiting


def test_what_could_not_be_published_goes_before_what_was_told_after_it() -> None:
    waiting = WaitingNotes()
    waiting.add(mark(1), NOW)
    waiting.add(mark(2), NOW)
    waiting.take(NOW)
    waiting.add(mark(3), NOW)
    waiting.put_back()
    assert all_taken(waiting) == [mark(1), mark(2), mark(3)]
    waiting.put_back()
    assert not waiting


def test_an_envelope_takes_what_fits() -> None:
    waiting = WaitingNotes(max_notes=10_000)
    for number in range(2 * ENVELOPE_NOTES + 1):
        waiting.add(mark(number), NOW)
    sizes = []
    while waiting:
        waiting.take(NOW)
        sizes.append(waiting.published())
    assert sizes == [ENVELOPE_NOTES, ENVELOPE_NOTES, 1]
    for _ in range(5):
        waiting.add(HasRead("x" * (ENVELOPE_BYTES // 2)), NOW)
    sizes = []
    while waiting:
        waiting.take(NOW)
        sizes.append(waiting.published())
    assert sizes == [2, 2, 1]


def test_the_oldest_give_way_to_the_newest() -> None:
    waiting = WaitingNotes(max_notes=3)
    for number in range(10):
        waiting.add(mark(number), NOW)
    assert waiting.dropped == 7
    assert all_taken(waiting) == [mark(7), mark(8), mark(9)]


def test_what_waits_is_bounded_in_bytes_too() -> None:
    size = len(encoded(mark(0))[0])
    waiting = WaitingNotes(max_bytes=3 * size)
    for number in range(5):
        waiting.add(mark(number), NOW)
    assert waiting.dropped == 2
    waiting.take(NOW)
    waiting.published()
    for number in range(5, 9):
        waiting.add(mark(number), NOW)
    assert waiting.dropped == 3, "what has been published takes no room"
    assert all_taken(waiting) == [mark(6), mark(7), mark(8)]
    waiting.add(HasRead("x" * 3 * size), NOW)
    assert not waiting
    assert waiting.dropped == 4


def test_what_has_waited_too_long_gives_way() -> None:
    waiting = WaitingNotes()
    for number in range(3):
        waiting.add(mark(number), NOW + number)
    waiting.add(commit(1), NOW)
    waiting.take(NOW)
    waiting.put_back()
    notes = opened(envelope(address("a"), waiting.take(NOW + MAX_SECONDS + 1)))[1]
    assert notes == [mark(1), mark(2), commit(1)]
    assert waiting.dropped == 1
    waiting.put_back()
    notes = opened(envelope(address("a"), waiting.take(NOW + 1000)))[1]
    assert notes == [commit(1)], "its head is told all the same"
    assert waiting.dropped == 4


def test_what_is_put_back_may_find_no_room() -> None:
    waiting = WaitingNotes(max_notes=2)
    waiting.add(mark(1), NOW)
    waiting.add(mark(2), NOW)
    waiting.take(NOW)
    waiting.add(mark(3), NOW)
    waiting.put_back()
    assert waiting.dropped == 1
    assert all_taken(waiting) == [mark(2), mark(3)]


def test_the_newest_head_that_gave_way_is_told_at_the_end() -> None:
    waiting = WaitingNotes(max_notes=2)
    for note in (commit(1), commit(2), mark(1), mark(2), mark(3)):
        waiting.add(note, NOW)
    assert waiting.dropped == 3
    assert all_taken(waiting) == [mark(2), mark(3), commit(2)]
    assert not waiting


def test_a_head_that_gave_way_is_not_told_when_a_later_one_is() -> None:
    waiting = WaitingNotes(max_notes=2)
    for note in (commit(1, memberships=1), mark(1), commit(2, memberships=1)):
        waiting.add(note, NOW)
    assert all_taken(waiting) == [mark(1), commit(2, memberships=1)]


def test_a_head_that_gave_way_is_told_when_the_later_one_is_of_another_log() -> None:
    waiting = WaitingNotes(max_notes=2)
    for note in (commit(9), mark(1), commit(1, epoch="other456")):
        waiting.add(note, NOW)
    assert all_taken(waiting) == [mark(1), commit(1, epoch="other456"), commit(9)]


def test_heads_that_give_way_when_they_are_put_back_do_not_hide_later_ones() -> None:
    waiting = WaitingNotes(max_notes=2)
    waiting.add(commit(1), NOW)
    waiting.add(commit(2), NOW)
    waiting.take(NOW)
    for note in (commit(3), mark(1), mark(2)):
        waiting.add(note, NOW)
    waiting.put_back()
    assert all_taken(waiting) == [mark(1), mark(2), commit(3)]


def test_an_owed_head_survives_a_failure_too() -> None:
    waiting = WaitingNotes(max_notes=1)
    waiting.add(commit(1), NOW)
    waiting.add(mark(1), NOW)
    assert taken(waiting) == [mark(1), commit(1)]
    waiting.put_back()
    waiting.add(mark(2), NOW)
    assert all_taken(waiting) == [mark(2), commit(1)]


def test_by_default_some_seconds_of_many_notes_find_room() -> None:
    waiting = WaitingNotes()
    for number in range(MAX_NOTES + 1):
        waiting.add(mark(number), NOW)
    assert waiting.dropped == 1
    assert MAX_BYTES >= 16 * ENVELOPE_BYTES
