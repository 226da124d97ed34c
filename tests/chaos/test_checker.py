"""The checker sees what it must see: each law is broken by damage done to a good record, and only that law is told.

And it sees nothing where nothing is wrong, however much is left open (`test_good_records`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.checker import LAWS, check, told
from tests.chaos.record import Attempt, Received, Record, Row
from tests.chaos.scene import Scene, frames, give, message_frame, place_of, swap, take

Damage = Callable[[Scene], None]
DAMAGES: list[tuple[str, Damage]] = []


def breaks(law: str) -> Callable[[Damage], Damage]:
    def note(damage: Damage) -> Damage:
        DAMAGES.append((law, damage))
        return damage

    return note


def row_of(scene: Scene, n: int) -> Row:
    [row] = [row for row in scene.record.log.rows if row.n == n]
    return row


# The log


@breaks("seq_is_dense")
def a_gap(scene: Scene) -> None:
    scene.record.log.last_seq += 1


@breaks("event_id_is_unique")
def one_event_id_twice(scene: Scene) -> None:
    one, other, _ = scene.unanswered
    row_of(scene, one.n).event_id = row_of(scene, other.n).event_id


@breaks("sent_once_is_logged_once")
def a_retry_that_is_another_message(scene: Scene) -> None:
    log = scene.record.log
    log.last_seq += 1
    log.rows.append(replace(row_of(scene, scene.unanswered[0].n), seq=log.last_seq, event_id="another"))


@breaks("logged_is_what_was_sent")
def another_receiver(scene: Scene) -> None:
    row_of(scene, scene.unanswered[0].n).to = ("user", "somebody")


@breaks("logged_is_what_was_sent")
def a_message_of_nobody(scene: Scene) -> None:
    row_of(scene, scene.unanswered[0].n).n = 4711


@breaks("answered_is_logged")
def an_answered_send_is_lost(scene: Scene) -> None:
    scene.record.log.rows.remove(row_of(scene, scene.answered[0].n))


@breaks("answers_are_true")
def a_wrong_seq(scene: Scene) -> None:
    answer = scene.answered[0].attempts[0].answer
    assert answer is not None
    answer["seq"] += 1


@breaks("answers_are_true")
def an_ephemeral_message_with_a_seq(scene: Scene) -> None:
    answer = scene.passing[0].attempts[0].answer
    assert answer is not None
    answer["seq"] = 1


@breaks("repeats_are_told")
def new_twice(scene: Scene) -> None:
    scene.named.attempts[1].status = 201


@breaks("repeats_are_told")
def a_first_send_taken_for_a_repeat(scene: Scene) -> None:
    scene.answered[0].attempts[0].status = 200


@breaks("refusals_have_a_reason")
def a_conflict(scene: Scene) -> None:
    at = scene.hub.now
    scene.named.attempts.append(Attempt(node="one", at=at, ended_at=at, status=409, answer={"code": "conflict"}))


@breaks("publishers_order_is_kept")
def seq_against_the_order_of_sending(scene: Scene) -> None:
    rows = [row_of(scene, send.n) for send in scene.answered]
    rows[0].seq, rows[1].seq = rows[1].seq, rows[0].seq
    for send, row in zip(scene.answered, rows, strict=True):
        assert send.attempts[0].answer is not None
        send.attempts[0].answer["seq"] = row.seq


@breaks("time_is_the_stores")
def created_by_a_clock_that_is_wrong(scene: Scene) -> None:
    row_of(scene, scene.unanswered[0].n).created_at += 3600


@breaks("batches_keep_their_order")
def a_batch_in_disorder(scene: Scene) -> None:
    one, other, _ = scene.unanswered
    other.batch = one.batch
    other.attempts[0].at = one.attempts[0].at
    rows = [row_of(scene, send.n) for send in (one, other)]
    rows[0].seq, rows[1].seq = rows[1].seq, rows[0].seq


# Streams and ids


@breaks("streams_begin_as_promised")
def no_first_id(scene: Scene) -> None:
    del frames(scene.eve)[1]


@breaks("streams_begin_as_promised")
def a_message_before_the_open(scene: Scene) -> None:
    shown = frames(scene.eve)
    shown.insert(3, shown.pop(2))


@breaks("nothing_follows_the_close")
def a_message_after_the_close(scene: Scene) -> None:
    at = scene.ada.connection.asked_at
    frames(scene.ada).insert(5, Received(at=at, not_before=at, event="sse.close", data={}, has_data=True))


@breaks("streams_are_answered_200")
def a_stream_answered_503(scene: Scene) -> None:
    scene.eve.connection.status = 503


@breaks("streams_are_answered_200")
def a_client_turned_away_for_nothing(scene: Scene) -> None:
    scene.eve.connection.status = 204


@breaks("streams_are_not_silent")
def a_stream_that_fell_silent(scene: Scene) -> None:
    scene.ada.connection.end = "silent"
    scene.ada.connection.ended_at = frames(scene.ada)[-1].at + 60


@breaks("control_events_have_no_id")
def a_control_event_with_an_id(scene: Scene) -> None:
    frames(scene.eve)[2].id = frames(scene.eve)[1].id


@breaks("cursors_are_well_formed")
def a_long_id(scene: Scene) -> None:
    frame = frames(scene.eve)[-1]
    assert frame.id is not None
    frame.id = frame.id.ljust(65, "x")


@breaks("cursors_are_well_formed")
def an_id_with_an_odd_byte(scene: Scene) -> None:
    frame = frames(scene.eve)[-1]
    assert frame.id is not None
    frame.id += "~"


@breaks("ids_begin_with_the_seq")
def an_id_of_another_seq(scene: Scene) -> None:
    frame = frames(scene.eve)[-1]
    assert frame.id is not None
    frame.id = f"1{frame.id}"


@breaks("ids_begin_with_the_seq")
def an_ephemeral_message_with_an_id(scene: Scene) -> None:
    frames(scene.bob)[place_of(scene.bob, scene.passing[0])].id = "7-x"


@breaks("ids_tell_states_apart")
def an_id_that_stands_still(scene: Scene) -> None:
    id_only = [frame for frame in frames(scene.ada) if frame.id is not None and not frame.has_data]
    id_only[-1].id = id_only[0].id


@breaks("frames_carry_what_was_sent")
def other_data(scene: Scene) -> None:
    frame = frames(scene.eve)[-1]
    assert isinstance(frame.data, dict)
    frame.data["more"] = 1


@breaks("no_duplicate_on_a_connection")
def a_message_twice(scene: Scene) -> None:
    shown = frames(scene.back)
    place = place_of(scene.back, scene.live[1])
    shown.insert(place + 1, deepcopy(shown[place]))


@breaks("no_duplicate_across_a_resume")
def a_message_again(scene: Scene) -> None:
    give(scene, scene.back, scene.low)


@breaks("seq_rises_within_a_priority")
def two_of_a_priority_exchanged(scene: Scene) -> None:
    swap(scene.back, scene.live[0], scene.live[1])


@breaks("higher_priorities_go_first")
def a_high_one_held_back(scene: Scene) -> None:
    swap(scene.ada, scene.high, scene.low)


@breaks("resets_are_told")
def a_silent_gap(scene: Scene) -> None:
    assert frames(scene.thief).pop(3).event == "sse.reset"


@breaks("resets_are_told")
def a_reset_that_is_called_complete(scene: Scene) -> None:
    opened = frames(scene.thief)[2].data
    assert isinstance(opened, dict)
    opened["complete"] = True


@breaks("good_cursors_are_honoured")
def a_good_cursor_reset(scene: Scene) -> None:
    shown = frames(scene.back)
    opened = shown[2].data
    assert isinstance(opened, dict)
    opened.update(resumed=False, complete=False)
    reset = Received(at=shown[2].at, not_before=shown[2].at, event="sse.reset", has_data=True)
    reset.data = {"reason": "too_old"}
    shown.insert(3, reset)


# What is given


@breaks("nothing_is_missed")
def one_lost_live(scene: Scene) -> None:
    take(scene.back, scene.live[1])


@breaks("nothing_is_missed")
def the_last_one_lost(scene: Scene) -> None:
    take(scene.eve, scene.late[0])


@breaks("nothing_is_missed")
def one_lost_to_who_was_offline(scene: Scene) -> None:
    take(scene.eve, scene.named)


@breaks("nothing_is_missed")
def one_lost_to_a_member(scene: Scene) -> None:
    take(scene.ada, scene.insiders)


@breaks("nothing_is_missed")
def one_lost_to_a_group_of_the_url(scene: Scene) -> None:
    take(scene.bob, scene.to_lobby)


@breaks("complete_is_complete")
def one_lost_between_connections(scene: Scene) -> None:
    take(scene.back, scene.missed[0])


@breaks("complete_is_complete")
def one_lost_that_was_overtaken(scene: Scene) -> None:
    """As when a cursor says more than was given: the connection before was cut before it was seen to be missing."""
    take(scene.ada, scene.low)


@breaks("who_stays_is_served")
def a_reader_that_never_had_it_all(scene: Scene) -> None:
    scene.back.connection.end = "cut"


@breaks("only_its_own")
def another_users(scene: Scene) -> None:
    give(scene, scene.back, scene.to_bob)


@breaks("only_its_own")
def another_clients(scene: Scene) -> None:
    give(scene, scene.back, scene.to_phone)


@breaks("only_its_own")
def a_group_never_joined(scene: Scene) -> None:
    give(scene, scene.back, scene.to_lobby)


@breaks("only_its_own")
def from_before_the_join(scene: Scene) -> None:
    give(scene, scene.ada, scene.outsiders)


@breaks("only_its_own")
def from_after_the_leave(scene: Scene) -> None:
    give(scene, scene.back, scene.leavers)


@breaks("only_its_own")
def revoked_by_the_leave(scene: Scene) -> None:
    give(scene, scene.tablet, scene.insiders)


@breaks("only_its_own_in_passing")
def ephemeral_for_another_user(scene: Scene) -> None:
    last = frames(scene.ada)[-1]
    frames(scene.ada).append(message_frame(scene, scene.passing_bob, last.at, last.not_before))


@breaks("nothing_expired_is_written")
def an_expired_one(scene: Scene) -> None:
    give(scene, scene.eve, scene.short)


@breaks("nothing_read_is_replayed")
def a_read_one_in_a_replay(scene: Scene) -> None:
    give(scene, scene.tablet, scene.first)


@breaks("pending_is_given_once")
def pending_again(scene: Scene) -> None:
    give(scene, scene.desk, scene.live[0])


@breaks("ephemeral_at_most_once")
def ephemeral_twice(scene: Scene) -> None:
    shown = frames(scene.ada)
    place = place_of(scene.ada, scene.passing[1])
    shown.insert(place + 1, deepcopy(shown[place]))


@breaks("ephemeral_is_live_only")
def ephemeral_replayed(scene: Scene) -> None:
    last = frames(scene.eve)[-1]
    frames(scene.eve).append(message_frame(scene, scene.passing[0], last.at, last.not_before))


@breaks("ephemeral_keeps_its_order")
def ephemeral_out_of_order(scene: Scene) -> None:
    swap(scene.ada, *scene.passing)


@breaks("ephemeral_keeps_its_order")
def an_ephemeral_batch_out_of_order(scene: Scene) -> None:
    one, other = scene.passing
    other.batch, other.attempts[0].at = one.batch, one.attempts[0].at
    swap(scene.ada, one, other)


# The inbox


@breaks("counts_are_exact")
def one_too_many(scene: Scene) -> None:
    scene.record.counts[0].counts["total"] += 1


@breaks("counts_are_exact")
def one_too_few_by_priority(scene: Scene) -> None:
    scene.record.counts[0].counts["by_priority"]["high"] -= 1


@breaks("counts_are_exact")
def counts_of_a_group_that_was_left(scene: Scene) -> None:
    scene.record.counts[0].counts["by_group"]["team"] = 1


@breaks("counts_are_exact")
def opened_with_wrong_counts(scene: Scene) -> None:
    opened = frames(scene.eve)[2].data
    assert isinstance(opened, dict)
    opened["unread"]["total"] -= 1


@breaks("counts_are_exact")
def a_mark_answered_with_the_counts_before(scene: Scene) -> None:
    answer = scene.mark.attempts[0].answer
    assert answer is not None
    answer["unread"]["total"] += 1


@breaks("counts_are_told")
def not_told_of_the_last_change(scene: Scene) -> None:
    for frame in frames(scene.back):
        if frame.event == "sse.unread" and isinstance(frame.data, dict):
            frame.data["total"] += 1


@breaks("who_does_not_ask_is_not_told")
def told_unasked(scene: Scene) -> None:
    scene.back.connection.unread = False


@breaks("read_stays_read")
def a_mark_taken_back(scene: Scene) -> None:
    scene.record.listings[0].messages[0]["status"] = "sent"


@breaks("read_stays_read")
def read_by_itself(scene: Scene) -> None:
    scene.record.listings[0].messages[-1]["status"] = "read"


@breaks("marks_are_kept")
def a_mark_lost(scene: Scene) -> None:
    scene.record.log.read.clear()


@breaks("marks_are_kept")
def a_row_that_does_not_say_so(scene: Scene) -> None:
    row_of(scene, scene.first.n).status = 1


@breaks("listings_are_exact")
def one_not_listed(scene: Scene) -> None:
    del scene.record.listings[0].messages[3]


@breaks("listings_are_exact")
def listed_otherwise_than_sent(scene: Scene) -> None:
    scene.record.listings[0].messages[3]["event_type"] = "another"


@breaks("joins_take_their_place")
def a_join_too_early_in_the_log(scene: Scene) -> None:
    [(user, group, after)] = scene.record.log.joined
    scene.record.log.joined = [(user, group, after - 2)]


@breaks("joins_take_their_place")
def a_join_lost(scene: Scene) -> None:
    scene.record.log.joined.clear()


# Commands


@breaks("disconnected_streams_end")
def a_stream_that_outlives_the_command(scene: Scene) -> None:
    scene.bob.connection.ended_at = scene.bob.connection.until + 20


@breaks("disconnected_streams_end")
def a_stream_told_to_come_back(scene: Scene) -> None:
    frames(scene.bob)[-1].data = {"reason": "disconnected", "reconnect": True}


@breaks("dismissed_clients_are_turned_away")
def a_dismissed_client_let_in(scene: Scene) -> None:
    scene.turned_away.status = 200


@pytest.mark.parametrize(("law", "damage"), DAMAGES, ids=[damage.__name__ for _, damage in DAMAGES])
def test_what_breaks_a_law_is_told_as_that(law: str, damage: Damage) -> None:
    scene = Scene()
    damage(scene)
    violations = check(scene.record)
    assert {violation.law for violation in violations} == {law}, "\n".join(told(violations))


def test_every_law_is_broken_by_some_damage() -> None:
    assert {law for law, _ in DAMAGES} == {law.__name__ for law in LAWS}


def test_every_law_says_where_it_comes_from() -> None:
    assert [law.__name__ for law in LAWS if "§" not in (law.__doc__ or "")] == []


def test_the_scene_breaks_none() -> None:
    assert list(told(check(Scene().record))) == []


def test_a_record_is_checked_from_a_file(tmp_path: Path) -> None:
    scene = Scene()
    path = tmp_path / "record.json"
    scene.record.save(path)
    assert Record.load(path) == scene.record
    command = [sys.executable, "-m", "tests.chaos.checker", str(path)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == ""
    take(scene.back, scene.live[1])
    scene.record.save(path)
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    assert found.returncode == 1
    assert found.stdout.startswith("nothing_is_missed: ada, connection")
