"""Opening, feeding and ending streams, as the application does it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sse_app.connection import WRITE_BYTES
from sse_app.sending import draft
from sse_domain.api import Receipt
from sse_domain.cursor import encode_cursor, encode_level
from sse_domain.errors import ShuttingDown
from sse_domain.message import BROADCAST, Priority, Receiver
from sse_domain.replay import ReplayMode
from tests.unit.app.conftest import FakeClock, Parts, RecordingWriter, start_parts


async def test_a_stream_opens_with_its_position_then_what_it_is(node: Parts) -> None:
    await node.hub.subscribe("ada", "team")
    _, writer = await node.open(user_id="ada", client_id="phone", groups=("lobby",))
    epoch = node.container.flow().head.epoch
    assert writer.begun == f"0-{epoch}"
    [opened] = writer.told("sse.open")
    assert opened["client_id"] == "phone"
    assert opened["groups"] == ["lobby", "team"]
    assert (opened["resumed"], opened["complete"], opened["heartbeat_seconds"]) == (False, True, 30.0)
    assert opened["unread"] == {
        "user_id": "ada",
        "total": 0,
        "by_priority": {"normal": 0, "high": 0, "urgent": 0},
        "by_group": {},
        "by_event_type": {},
    }


async def test_what_was_missed_comes_first_most_urgent_ahead_then_live(node: Parts) -> None:
    await node.hub.send_to_user("ada", "first", 1, persist=True)
    await node.hub.send_to_user("ada", "second", 2, persist=True, priority=Priority.URGENT)
    _, writer = await node.open(user_id="ada")
    await node.hub.send_to_user("ada", "third", 3, persist=True)
    assert writer.types == ["second", "first", "third"]
    epoch = node.container.flow().head.epoch
    assert writer.cursors == [
        encode_cursor(2, epoch, (0, 2, 2)),  # type: ignore[arg-type]
        encode_cursor(1, epoch, (1, 1, 2)),  # type: ignore[arg-type]
        encode_level(3, epoch),
    ]


async def test_every_cursor_resumes_with_exactly_the_rest(node: Parts) -> None:
    for number, priority in enumerate([0, 2, 1, 0, 2, 0]):
        await node.hub.send_to_user("ada", f"t{number}", number, persist=True, priority=priority)
    _, writer = await node.open(user_id="ada")
    frames = [(writer.begun, 0), *((cursor, i + 1) for i, cursor in enumerate(writer.cursors))]
    for cursor, given in frames:
        _, resumed = await node.open(user_id="ada", cursor=cursor)
        assert resumed.types == writer.types[given:]
        assert resumed.told("sse.open")[0]["resumed"] is True


@pytest.mark.parametrize(
    ("cursor", "reason"), [("nonsense", "unknown"), ("1-00000000", "other_log"), ("99-{epoch}", "unknown")]
)
async def test_a_cursor_that_cannot_be_honoured_is_told_before_anything_is_replayed(
    node: Parts, cursor: str, reason: str
) -> None:
    await node.hub.send_to_user("ada", "kept", 1, persist=True)
    epoch = node.container.flow().head.epoch
    connection, writer = await node.open(user_id="ada", cursor=cursor.format(epoch=epoch))
    assert [name for name, _ in writer.controls] == ["sse.open", "sse.reset"]
    assert writer.told("sse.reset") == [{"reason": reason}]
    assert writer.told("sse.open")[0]["complete"] is False
    assert writer.types == ["kept"]
    connection.leave()


async def test_a_second_device_is_not_given_again_what_the_first_one_had(node: Parts) -> None:
    await node.hub.send_to_user("ada", "old", 1, persist=True)
    first, _ = await node.open(user_id="ada")
    first.leave()
    await node.hub.send_to_user("ada", "new", 2, persist=True)
    _, second = await node.open(user_id="ada")
    assert second.types == ["new"]
    _, unread = await node.open(user_id="ada", replay=ReplayMode.UNREAD)
    assert unread.types == ["old", "new"]
    _, none = await node.open(user_id="ada", replay=ReplayMode.NONE)
    assert none.types == []


async def test_a_filtered_stream_does_not_count_as_delivery(node: Parts) -> None:
    await node.hub.send_to_user("ada", "wanted", 1, persist=True)
    stream, writer = await node.open(user_id="ada", event_types=("wanted",))
    assert writer.types == ["wanted"]
    stream.leave()
    _, unfiltered = await node.open(user_id="ada")
    assert unfiltered.types == ["wanted"]


async def test_a_client_that_was_away_gets_its_own_messages_though_its_user_was_online(node: Parts) -> None:
    await node.open(user_id="ada", client_id="desk")
    await node.hub.send_to_client("phone", "for-phone", 1, persist=True)
    await node.hub.send_to_user("ada", "for-ada", 2, persist=True)
    _, phone = await node.open(user_id="ada", client_id="phone")
    assert "for-phone" in phone.types
    _, again = await node.open(user_id="ada", client_id="phone")
    assert again.types == []


async def test_a_named_client_without_a_user_gets_what_came_while_it_was_away(node: Parts) -> None:
    first, writer = await node.open(client_id="kiosk")
    await node.hub.broadcast("one", 1, persist=True)
    first.leave()
    await node.hub.broadcast("two", 2, persist=True)
    _, back = await node.open(client_id="kiosk")
    assert (writer.types, back.types) == (["one"], ["two"])
    _, stranger = await node.open()
    assert stranger.types == []


async def test_a_group_joined_by_url_counts_from_the_opening_and_on_resume_from_the_cursor(
    node: Parts,
) -> None:
    await node.hub.send_to_group("lobby", "before", 1, persist=True)
    stream, writer = await node.open(groups=("lobby",))
    await node.hub.send_to_group("lobby", "while", 2, persist=True)
    stream.leave()
    await node.hub.send_to_group("lobby", "after", 3, persist=True)
    _, resumed = await node.open(groups=("lobby",), cursor=writer.cursors[-1])
    assert (writer.types, resumed.types) == (["while"], ["after"])


async def test_joining_and_leaving_take_effect_on_open_streams_at_once(node: Parts) -> None:
    _, writer = await node.open(user_id="ada")
    await node.hub.send_to_group("team", "early", 1, persist=True)
    await node.hub.subscribe("ada", "team", ["wanted"])
    await node.hub.send_to_group("team", "wanted", 2)
    await node.hub.send_to_group("team", "other", 3)
    writer.blocked = True
    await node.hub.send_to_group("team", "wanted", 4, persist=True)
    await node.hub.unsubscribe("ada", "team")
    writer.release()
    await node.hub.send_to_group("team", "wanted", 5)
    assert writer.types == ["wanted"]


async def test_a_burst_goes_out_in_one_write(node: Parts) -> None:
    _, writer = await node.open(user_id="ada")
    drafts = [("t", number) for number in range(20)]
    await node.hub.send_batch([draft(Receiver.user("ada"), kind, n, persist=True) for kind, n in drafts])
    assert writer.writes == [20]


async def test_a_stalled_reader_costs_bounded_memory_then_its_cursor_brings_everything(
    clock: FakeClock,
) -> None:
    node = await start_parts(clock, stream_buffer_messages=8, timeout_seconds=90)
    _, writer = await node.open(user_id="ada")
    writer.block_after_next = True
    for number in range(100):
        await node.hub.send_to_user("ada", f"t{number}", number, persist=True)
    connection = next(iter(node.container.hub().connections))
    assert connection.info().state == "lagging"
    heartbeat = node.container.heartbeat()
    await heartbeat.sweep()
    clock.advance(89)
    await heartbeat.sweep()
    assert writer.closed is None
    clock.advance(1)
    await heartbeat.sweep()
    assert writer.closed == ("timeout", True)
    assert not node.container.hub().connections
    _, resumed = await node.open(user_id="ada", cursor=writer.cursors[-1])
    assert writer.types + resumed.types == [f"t{number}" for number in range(100)]


async def test_a_slow_reader_falls_back_to_the_log_and_catches_up(clock: FakeClock) -> None:
    node = await start_parts(clock, stream_buffer_messages=8)
    _, writer = await node.open(user_id="ada")
    writer.block_after_next = True
    for number in range(300):
        await node.hub.send_to_user("ada", f"t{number}", number, persist=True)
    await node.hub.send_to_user("ada", "live-only", 0)
    writer.release()
    await node.settle()
    await node.hub.send_to_user("ada", "t300", 300, persist=True)
    assert writer.types == [f"t{number}" for number in range(301)]
    assert (await node.hub.info()).dropped == 1


async def test_heartbeats_move_the_cursor_of_an_idle_stream_on(node: Parts) -> None:
    _, writer = await node.open(user_id="ada")
    await node.hub.send_to_user("bob", "t", 1, persist=True)
    heartbeat = node.container.heartbeat()
    node.clock.advance(29.9)
    await heartbeat.beat()
    assert writer.beats == []
    node.clock.advance(0.2)
    await heartbeat.beat()
    await heartbeat.beat()
    assert writer.beats == [encode_level(1, node.container.flow().head.epoch)]


async def test_an_expired_message_is_never_written(node: Parts) -> None:
    await node.hub.send_to_user("ada", "short", 1, persist=True, ttl=10)
    node.clock.advance(10)
    _, writer = await node.open(user_id="ada")
    writer.blocked = True
    await node.hub.send_to_user("ada", "shorter", 1, ttl=5)
    node.clock.advance(5)
    writer.release()
    assert writer.types == []


async def test_a_disconnected_client_is_dismissed_for_thirty_seconds(node: Parts) -> None:
    _, writer = await node.open(client_id="phone")
    assert await node.hub.disconnect("phone", reconnect=False) == 1
    assert writer.closed == ("disconnected", False)
    assert node.hub.dismissed("phone", None)
    assert not node.hub.dismissed("desk", None)
    node.clock.advance(30)
    assert not node.hub.dismissed("phone", None)
    assert await node.hub.disconnect("phone", reconnect=True) == 0


async def test_a_draining_node_opens_nothing(node: Parts) -> None:
    node.hub.draining = True
    with pytest.raises(ShuttingDown):
        await node.open(RecordingWriter(), user_id="ada")
    assert not await node.hub.ready()


async def test_a_reader_that_fails_is_ended_and_keeps_nothing_from_the_others(node: Parts) -> None:
    _, broken = await node.open(user_id="ada", client_id="broken")
    _, sound = await node.open(user_id="ada", client_id="sound")
    broken.broken = True
    receipt = await node.hub.send_to_user("ada", "t", 1, persist=True)
    assert (receipt.seq, sound.types, broken.closed) == (1, ["t"], ("internal_error", True))
    assert [client.client_id for client in await node.hub.clients(None, 10)] == ["sound"]


async def test_a_reader_that_fails_keeps_no_broadcast_from_the_others() -> None:
    node = await start_parts(FakeClock())
    writers = [(await node.open(user_id=f"u{number}"))[1] for number in range(3)]
    writers[1].broken = writers[1].blocked_by_close = True
    [answer] = await asyncio.gather(node.hub.broadcast("t", 1, persist=True), return_exceptions=True)
    assert [writer.types for writer in writers] == [["t"], [], ["t"]]
    assert isinstance(answer, Receipt)
    assert (answer.seq, answer.connections) == (1, 3)
    assert [writer.closed for writer in writers] == [None, ("internal_error", True), None]
    await node.hub.broadcast("t", 2, persist=True)
    assert [writer.types for writer in writers] == [["t", "t"], [], ["t", "t"]]


async def test_streams_that_admit_the_same_messages_of_a_burst_share_one_batch(node: Parts) -> None:
    writers = [(await node.open(user_id=f"u{number}"))[1] for number in range(3)]
    _, filtered = await node.open(event_types=("even",))
    drafts = [draft(BROADCAST, "odd" if n % 2 else "even", n, persist=True, priority=n % 3) for n in range(10)]
    await node.hub.send_batch(drafts)
    [first], [second], [third] = (writer.batches for writer in writers)
    assert first is second is third
    assert [message.data for message, _ in first] == [b"2", b"5", b"8", b"1", b"4", b"7", b"0", b"3", b"6", b"9"]
    assert [message.data for message, _ in filtered.given] == [b"2", b"8", b"4", b"0", b"6"]
    for given, (_, cursor) in enumerate(first, start=1):
        _, resumed = await node.open(user_id="u0", cursor=cursor)
        assert [message.data for message, _ in resumed.given] == [message.data for message, _ in first[given:]]


@pytest.mark.parametrize("persist", [True, False])
async def test_a_large_batch_reaches_fast_readers_without_falling_back_to_the_log(node: Parts, persist: bool) -> None:
    _, writer = await node.open(user_id="ada")
    await node.hub.send_batch([draft(BROADCAST, "t", n, persist=persist) for n in range(1000)])
    info = await node.hub.info()
    assert (len(writer.given), info.replayed, info.dropped) == (1000, 0, 0)
    assert max(writer.writes) <= 64


@pytest.mark.parametrize("persist", [True, False])
async def test_a_burst_of_large_messages_comes_in_writes_of_bounded_size(node: Parts, persist: bool) -> None:
    _, writer = await node.open(user_id="ada")
    writer.block_after_next = True
    await node.hub.send_batch([draft(BROADCAST, "t", "x" * 100_000, persist=persist) for _ in range(50)])
    [batch] = writer.batches
    assert sum(len(message.data) for message, _ in batch) <= WRITE_BYTES, "more is kept for a reader that takes nothing"


async def test_a_client_disconnected_while_its_stream_opens_is_ended(
    node: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = node.container.store().inbox
    count = inbox.unread

    async def disconnected_meanwhile(*arguments: Any) -> Any:
        await node.hub.disconnect("phone", reconnect=False)
        return await count(*arguments)

    monkeypatch.setattr(inbox, "unread", disconnected_meanwhile)
    _, writer = await node.open(user_id="ada", client_id="phone")
    assert writer.closed == ("disconnected", False)
    assert not node.container.hub().connections
