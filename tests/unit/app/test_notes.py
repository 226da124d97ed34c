"""Nodes on one log with a bus between them: what it hastens, and what becomes of notes that go astray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from sse_app.fan_out import RUN_BYTES
from sse_app.following import PATIENCE_SECONDS
from sse_domain.api import Receipt
from sse_domain.notes import Committed, Passing
from sse_domain.replay import LogHead
from sse_domain.subscription import Membership
from tests.unit.app.held_notes import Held
from tests.unit.app.two_nodes import Nodes, two_nodes


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    async with two_nodes() as nodes:
        yield nodes


def committed(held: Held) -> Committed:
    assert isinstance(held.note, Committed)
    return held.note


async def test_what_is_committed_elsewhere_comes_with_the_note_and_without_reading_the_log(nodes: Nodes) -> None:
    _, writer = await nodes.here.open(user_id="ada")
    await nodes.there.hub.send_to_user("ada", "t", 1, persist=True)
    assert writer.types == []
    await nodes.settle()
    assert (writer.types, nodes.reads) == (["t"], 0)


async def test_notes_that_overtake_each_other_close_the_hole_themselves(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sse_app.following.PATIENCE_SECONDS", 60)
    _, writer = await nodes.here.open(user_id="ada")
    for number in range(3):
        await nodes.there.hub.send_to_user("ada", "t", number, persist=True)
    for index in (2, 1):
        nodes.notes.let_go(index)
        await asyncio.sleep(0)
        assert writer.types == []
    await nodes.settle()
    assert ([message.data for message, _ in writer.given], nodes.reads) == ([b"0", b"1", b"2"], 0)


async def test_a_note_that_is_lost_is_made_up_for_by_the_log(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_app.following.PATIENCE_SECONDS", 0)
    _, writer = await nodes.here.open(user_id="ada")
    await nodes.there.hub.send_to_user("ada", "t", 0, persist=True)
    nodes.notes.lose()
    await nodes.there.hub.send_to_user("ada", "t", 1, persist=True)
    await nodes.settle()
    assert [message.data for message, _ in writer.given] == [b"0", b"1"]


async def test_patience_begins_anew_with_each_hole(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    seconds = loop.time()
    monkeypatch.setattr(loop, "time", lambda: seconds)
    _, writer = await nodes.here.open(user_id="ada")
    for _ in range(8):
        await nodes.there.hub.send_to_user("ada", "t", 1, persist=True)
    held = {message.seq: each for each in nodes.notes.waiting for message in committed(each).messages}
    for some in ((2,), (4, 1), (6, 3), (8, 5), (7,)):  # one is always missing, but no one for long
        for seq in some:
            nodes.notes.hear(held[seq])
        for _ in range(5):
            await asyncio.sleep(0)
        seconds += 0.75 * PATIENCE_SECONDS
    assert (len(writer.given), nodes.reads) == (8, 0)


async def test_following_goes_on_after_a_failure(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_app.following.PAUSE_SECONDS", 0)
    _, writer = await nodes.here.open(user_id="ada")

    async def fail() -> None:
        raise ValueError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(nodes.store.log, "head", fail)
        nodes.notes.missed("here")
        await nodes.settle()
    await nodes.there.hub.send_to_user("ada", "t", 1, persist=True)
    await nodes.settle()
    assert writer.types == ["t"]


async def test_a_note_that_comes_twice_or_late_changes_nothing(nodes: Nodes) -> None:
    _, writer = await nodes.here.open(user_id="ada")
    await nodes.there.hub.send_to_user("ada", "t", 0, persist=True)
    [held] = nodes.notes.waiting
    await nodes.settle()
    nodes.notes.hear(held)
    await nodes.here.hub.send_to_user("ada", "t", 1, persist=True)
    nodes.notes.hear(held)
    await nodes.settle()
    assert [message.data for message, _ in writer.given] == [b"0", b"1"]


async def test_a_note_that_comes_again_while_it_is_applied_is_not_kept(nodes: Nodes) -> None:
    _, writer = await nodes.here.open(user_id="ada")
    for _ in range(2):
        await nodes.there.hub.send_to_user("ada", "t", "x" * RUN_BYTES, persist=True)  # a run of its own
    again = nodes.notes.waiting[1]
    nodes.notes.let_all_go()
    while not writer.given:  # noqa: ASYNC110  (the first is out, the second waits)
        await asyncio.sleep(0)
    nodes.notes.hear(again)
    await nodes.settle()
    assert len(writer.given) == 2
    assert not nodes.here.container.feed()._hints._messages


async def test_what_both_commit_at_the_same_time_reaches_both_without_a_read(nodes: Nodes) -> None:
    _, at_here = await nodes.here.open(user_id="ada")
    _, at_there = await nodes.there.open(user_id="ada")
    for number in range(5):
        for node in (nodes.here, nodes.there):
            await node.hub.send_to_user("ada", "t", number, persist=True)
            await nodes.settle()
    assert at_here.given == at_there.given
    assert (len(at_here.given), nodes.reads) == (10, 0)


async def test_notes_that_may_have_been_missed_are_looked_for_in_the_log(nodes: Nodes) -> None:
    _, writer = await nodes.here.open(user_id="ada")
    await nodes.there.hub.send_to_user("ada", "t", 1, persist=True)
    nodes.notes.lose()
    nodes.notes.missed("here")
    await nodes.settle()
    assert writer.types == ["t"]


async def test_a_join_and_a_leave_elsewhere_take_effect_with_the_note(nodes: Nodes) -> None:
    _, writer = await nodes.here.open(user_id="ada")
    await nodes.there.hub.subscribe("ada", "team")
    await nodes.settle()
    await nodes.here.hub.send_to_group("team", "in", 1)
    await nodes.there.hub.unsubscribe("ada", "team")
    await nodes.settle()
    await nodes.here.hub.send_to_group("team", "out", 2)
    assert writer.types == ["in"]


async def test_a_message_never_comes_before_the_join_that_was_before_it(nodes: Nodes) -> None:
    _, writer = await nodes.here.open(user_id="ada")
    await nodes.there.hub.subscribe("ada", "team")
    nodes.notes.lose()
    await nodes.there.hub.send_to_group("team", "t", 1, persist=True)
    await nodes.settle()
    assert writer.types == ["t"], "the note of the message tells of the join as well"


async def test_a_join_that_is_told_of_while_another_is_learned_comes_before_its_messages_too(nodes: Nodes) -> None:
    _, writer = await nodes.here.open(user_id="ada")
    subscriptions = nodes.store.subscriptions
    changed_since = subscriptions.changed_since

    async def overtaken(version: int, limit: int) -> list[Membership]:
        changes = await changed_since(version, limit)
        subscriptions.changed_since = changed_since  # type: ignore[method-assign]
        await nodes.there.hub.subscribe("ada", "team")
        await nodes.there.hub.send_to_group("team", "t", 1, persist=True)
        nodes.notes.let_all_go()
        return changes

    subscriptions.changed_since = overtaken  # type: ignore[method-assign]
    await nodes.there.hub.subscribe("bob", "team")
    await nodes.settle()
    assert writer.types == ["t"]


async def test_own_commits_do_not_wait_for_as_long_as_others_join(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriptions = nodes.store.subscriptions
    changed_since, learned = subscriptions.changed_since, 0
    sending: asyncio.Task[Receipt] | None = None
    sent_after = 0

    async def overtaken(version: int, limit: int) -> list[Membership]:
        nonlocal learned, sending, sent_after
        learned += 1
        sending = sending or asyncio.create_task(nodes.here.hub.send_to_user("ada", "t", 1, persist=True))
        if not sending.done():
            sent_after = learned
        changes = await changed_since(version, limit)
        if learned < 50:
            await nodes.there.hub.subscribe("bob", f"team-{learned}")
            nodes.notes.let_all_go()
            await asyncio.sleep(0)
        return changes

    monkeypatch.setattr(subscriptions, "changed_since", overtaken)
    await nodes.there.hub.subscribe("bob", "team")
    while learned < 50:
        await nodes.settle()
    assert sent_after < 20


async def test_a_note_of_another_log_makes_the_node_look_at_its_own(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sse_app.following.PATIENCE_SECONDS", 0)
    _, writer = await nodes.here.open(user_id="ada")
    await nodes.there.hub.send_to_user("ada", "t", 1, persist=True)
    held = nodes.notes.waiting.pop()
    another = committed(held).messages[0]._replace(data=b"another")
    nodes.notes.hear(held._replace(note=Committed(LogHead(epoch="another1", seq=1), (another,))))
    await nodes.settle()
    assert [message.data for message, _ in writer.given] == [b"1"], "it has looked, and found its own log"
    assert writer.closed is None, "which is as it should be"


async def test_what_the_log_has_lost_is_not_given_for_what_it_has_in_its_place(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sse_app.following.PATIENCE_SECONDS", 0)
    _, writer = await nodes.here.open(user_id="ada")
    for number in range(2):
        await nodes.there.hub.send_to_user("ada", "t", number, persist=True)
    late = nodes.notes.waiting.pop()
    nodes.notes.lose()
    gone = committed(late).messages[0]._replace(seq=4, event_id="gone", data=b"gone")
    head = replace(committed(late).head, seq=4)
    nodes.notes.hear(late._replace(note=Committed(head, (gone,))))  # of before the log was set back
    await nodes.settle()
    for number in range(2, 5):
        await nodes.there.hub.send_to_user("ada", "t", number, persist=True)
        await nodes.settle()
    assert [message.data for message, _ in writer.given] == [b"0", b"1", b"2", b"3", b"4"]


async def test_ephemeral_messages_cross_once_and_in_order(nodes: Nodes) -> None:
    _, writer = await nodes.here.open(user_id="ada")
    for number in range(4):
        receipt = await nodes.there.hub.send_to_user("ada", "t", number)
        assert receipt.connections == 0, "of the node that was asked"
    held = [*nodes.notes.waiting]
    for index in (0, 2, 1, 2, 3, 0):
        nodes.notes.hear(held[index])
    await nodes.settle()
    assert [message.data for message, _ in writer.given] == [b"0", b"2", b"3"]


async def test_ephemeral_messages_of_another_hub_are_left_out(nodes: Nodes) -> None:
    _, writer = await nodes.here.open(user_id="ada")
    await nodes.there.hub.send_to_user("ada", "t", 1)
    held = nodes.notes.waiting.pop()
    assert isinstance(held.note, Passing)
    nodes.notes.hear(held._replace(note=Passing("another1", 0, held.note.messages)))
    await nodes.settle()
    assert writer.types == []


async def test_read_marks_are_told_to_the_users_streams_elsewhere(nodes: Nodes) -> None:
    await nodes.there.hub.send_to_user("ada", "t", 1, persist=True)
    await nodes.settle()
    _, writer = await nodes.here.open(user_id="ada", unread=True)
    unread = nodes.here.container.unread()
    await unread.flush()
    await nodes.there.hub.mark_read("ada", everything=True)
    await nodes.settle()
    await unread.flush()
    assert [told["total"] for told in writer.told("sse.unread")] == [0]


async def test_read_marks_elsewhere_are_found_though_no_note_tells_of_them(nodes: Nodes) -> None:
    await nodes.there.hub.send_to_user("ada", "t", 1, persist=True)
    await nodes.settle()
    _, writer = await nodes.here.open(user_id="ada", unread=True)
    unread = nodes.here.container.unread()
    await unread.flush()
    await unread.look_for_marks()
    nodes.clock.advance(1)
    await nodes.there.hub.mark_read("ada", everything=True)
    nodes.notes.lose()
    await unread.look_for_marks()
    await unread.flush()
    assert [told["total"] for told in writer.told("sse.unread")] == [0]
