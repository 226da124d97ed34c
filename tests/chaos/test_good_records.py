"""The checker objects to nothing where nothing is wrong, and where what is wrong can't be known."""

from __future__ import annotations

import pytest

from tests.chaos.checker import check, told
from tests.chaos.ideal import IdealHub
from tests.chaos.random_story import RandomStory
from tests.chaos.record import Attempt, Disconnect, Fault, Received, Record
from tests.chaos.scene import NOBODY, frames


def passes(record: Record) -> bool:
    violations = check(record)
    assert not violations, "\n".join(told(violations))
    return True


@pytest.mark.parametrize("seed", range(60))
def test_a_random_run_of_a_hub_that_makes_no_mistakes(seed: int) -> None:
    record = RandomStory(seed).run()
    assert passes(record)
    assert sum(connection.resumed_from is not None for connection in record.connections) > 3


def test_a_send_without_an_answer_may_be_anywhere_that_its_time_allows() -> None:
    hub = IdealHub()
    hub.open("ada", user="ada")
    before = hub.send()
    lost = hub.send(answered=False, committed=False)
    committed = hub.send(answered=False)
    late = hub.send(answered=False, committed=False, event_id="late")
    hub.send()
    hub.send_again(late, answered=False)
    record = hub.finish()
    assert passes(record)
    assert [row.n for row in record.log.rows] == [before.n, committed.n, committed.n + 2, late.n]
    assert lost.n not in [row.n for row in record.log.rows]


@pytest.mark.parametrize("made", [True, False])
def test_a_join_without_an_answer_may_have_been_made_or_not(made: bool) -> None:
    hub = IdealHub()
    ada = hub.open("ada", user="ada")
    hub.change("ada", "team", joins=True, answered=False, done=made)
    team = hub.send(("group", "team"))
    record = hub.finish()
    assert passes(record)
    assert [frame.n for frame in frames(ada) if frame.is_message] == [team.n] * made


@pytest.mark.parametrize("first", [True, False])
def test_a_join_asked_for_twice_begins_with_either(first: bool) -> None:
    hub = IdealHub()
    ada = hub.open("ada", user="ada")
    join = hub.change("ada", "team", joins=True, answered=False, done=first)
    between = hub.send(("group", "team"))
    hub.change_again(join)
    after = hub.send(("group", "team"))
    record = hub.finish()
    assert passes(record)
    assert [frame.n for frame in frames(ada) if frame.is_message] == [between.n] * first + [after.n]


def test_a_request_without_an_answer_may_be_carried_out_a_moment_later() -> None:
    hub = IdealHub()
    ada = hub.open("ada", user="ada")
    hub.change("ada", "team", joins=True)
    ghost = hub.change("ada", "team", joins=False, answered=False, done=False)
    between = hub.send(("group", "team"))
    hub.change_again(ghost, answered=False)
    ghost.attempts.pop()
    hub.send(("group", "team"))
    assert passes(hub.finish())
    assert [frame.n for frame in frames(ada) if frame.is_message] == [between.n]


def test_what_expired_without_a_trace_may_leave_a_gap() -> None:
    hub = IdealHub()
    hub.send(NOBODY, ttl=1, answered=False)
    hub.step(2)
    hub.remove_expired()
    hub.send(NOBODY)
    record = hub.finish()
    assert passes(record)
    assert [row.seq for row in record.log.rows] == [2]


def test_what_was_read_late_may_have_been_written_in_time() -> None:
    hub = IdealHub()
    slow = hub.open("slow", user="ada")
    short = hub.send(("user", "ada"), ttl=1)
    hub.step(5)
    received = next(frame for frame in frames(slow) if frame.is_message)
    received.at = hub.now
    assert passes(hub.finish())
    assert received.at > short.answered_at + 1


def test_of_a_cursor_that_another_reader_had_nothing_is_known_but_whose_messages_are_whose() -> None:
    hub = IdealHub()
    ada = hub.open("ada", user="ada")
    hub.send(("user", "ada"))
    hub.send()
    cursor = frames(ada)[hub.last_place(ada).frame].id
    hub.open("thief", user="thief", cursor=cursor)
    assert passes(hub.finish())


def test_leaving_takes_a_moment_to_be_known_elsewhere() -> None:
    scene = IdealHub()
    ada = scene.open("ada", user="ada", node="two")
    scene.change("ada", "team", joins=True)
    ada.stalled = True
    waiting = scene.send(("group", "team"))
    ada.stalled = False
    scene.change("ada", "team", joins=False)
    cursor = f"{len(scene.kept)}-waited"
    place = frames(ada)
    place.append(frame := frame_now(scene, waiting.event_type, cursor, waiting.data))
    record = scene.finish()
    assert passes(record)
    frame.at = frame.not_before = record.log.rows[-1].created_at + 10
    assert {violation.law for violation in check(record)} == {"only_its_own"}


def test_nothing_is_said_of_a_node_that_could_not_learn() -> None:
    hub = IdealHub()
    hub.change("ada", "team", joins=True)
    ada = hub.open("ada", user="ada", node="two")
    ada.stalled = True
    waiting = hub.send(("group", "team"))
    hub.record.faults.append(Fault(name="pause", begun_at=hub.step(), nodes=["two"]))
    hub.change("ada", "team", joins=False)
    hub.step(20)
    hub.record.faults[0].ended_at = hub.now
    frames(ada).append(frame_now(hub, waiting.event_type, "1-waited", waiting.data))
    record = hub.finish()
    assert passes(record)
    record.faults.clear()
    assert {violation.law for violation in check(record)} == {"only_its_own"}


def frame_now(hub: IdealHub, event: str, cursor: str, data: object) -> Received:
    return Received(at=hub.step(), not_before=hub.now - 0.001, event=event, id=cursor, data=data, has_data=True)


def test_a_disconnect_without_an_answer_may_come_after_the_next() -> None:
    hub = IdealHub()
    asked = hub.step()
    lost = Attempt(node="two", at=asked, ended_at=hub.step(), status=503)
    hub.record.disconnects.append(Disconnect(client_id="phone", reconnect=True, attempts=[lost]))
    bob = hub.open("bob", client="phone", stays=False)
    hub.disconnect("phone", reconnect=False)
    frames(bob)[-1].data = {"reason": "disconnected", "reconnect": True}
    assert passes(hub.finish())


def test_what_was_committed_without_an_answer_and_is_gone_may_have_been_counted() -> None:
    hub = IdealHub()
    hub.open("ada", user="ada")
    lost = hub.send(("user", "ada"), answered=False, committed=False)
    count = hub.count("ada")
    count.counts["total"] += 1
    for key, value in (("by_priority", "normal"), ("by_event_type", lost.event_type)):
        count.counts[key][value] = count.counts[key].get(value, 0) + 1
    record = hub.finish()
    assert check(record), "without a TTL it would be there still"
    lost.ttl = 1
    assert passes(record)
