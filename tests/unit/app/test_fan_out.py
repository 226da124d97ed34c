"""What goes out together, and when."""

from __future__ import annotations

import asyncio

import pytest

from sse_app.fan_out import AT_ONCE, RUN_BYTES
from sse_app.sending import draft
from sse_domain.message import BROADCAST, Message, Priority, Receiver, ReceiverType
from sse_domain.notes import Passing
from tests.unit.app.conftest import FakeClock, Parts, RecordingWriter, start_parts

ADA = Receiver(ReceiverType.USER, "ada")


async def crowd(node: Parts) -> list[RecordingWriter]:
    return [(await node.open(user_id=f"u{number}"))[1] for number in range(AT_ONCE + 1)]


async def test_a_burst_costs_every_one_of_many_streams_one_write(node: Parts) -> None:
    writers = await crowd(node)
    drafts = [draft(BROADCAST, "t", n, priority=Priority.URGENT if n == 7 else Priority.NORMAL) for n in range(20)]
    receipts = await asyncio.gather(*map(node.hub.send, drafts))
    assert [receipt.connections for receipt in receipts] == [len(writers)] * 20
    for writer in writers:
        assert writer.writes == [20]
        assert [message.data for message, _ in writer.given[:2]] == [b"7", b"0"]


async def test_each_sender_learns_of_its_own_messages(node: Parts) -> None:
    writers = await crowd(node)
    one = [draft(BROADCAST, "t", 1), draft(Receiver(ReceiverType.USER, "nobody"), "t", 2)]
    other = [draft(Receiver(ReceiverType.USER, "u3"), "t", 3), draft(BROADCAST, "t", 4)]
    answers = await asyncio.gather(node.hub.send_batch(one), node.hub.send_batch(other))
    counts = [[getattr(answer, "connections", None) for answer in batch] for batch in answers]
    assert counts == [[len(writers), 0], [1, len(writers)]]


async def test_what_reaches_few_streams_goes_out_at_once(node: Parts) -> None:
    _, ada = await node.open(user_id="ada")
    sending = asyncio.ensure_future(node.hub.send(draft(ADA, "t", "to ada")))
    await asyncio.sleep(0)
    assert sending.done()
    assert [message.data for message, _ in ada.given] == [b'"to ada"']


async def test_nothing_goes_before_what_was_sent_before_it_but_what_is_more_urgent() -> None:
    node = await start_parts(FakeClock())
    await crowd(node)
    _, ada = await node.open(user_id="ada")
    large = "x" * (RUN_BYTES // 3)
    broadcasts = [draft(BROADCAST, "broadcast", large) for _ in range(8)]
    broadcasting = asyncio.ensure_future(node.hub.send_batch(broadcasts))
    while not ada.given:  # noqa: ASYNC110  (the first run is out, the others wait)
        await asyncio.sleep(0)
    following = [draft(ADA, "next", 1), draft(ADA, "urgent", 2, priority=Priority.URGENT)]
    await asyncio.gather(broadcasting, *map(node.hub.send, following))
    assert ada.types.index("urgent") < len(broadcasts), "held back by a burst"
    assert [name for name in ada.types if name != "urgent"] == ["broadcast"] * 8 + ["next"]


async def test_what_was_sent_is_handed_out_whatever_becomes_of_its_sender(node: Parts) -> None:
    writers = await crowd(node)
    sending = asyncio.ensure_future(node.hub.send(draft(BROADCAST, "t", "cancelled")))
    going_with_it = asyncio.ensure_future(node.hub.send(draft(BROADCAST, "t", "another")))
    await asyncio.sleep(0)
    sending.cancel()
    assert (await going_with_it).connections == len(writers)
    assert sending.cancelled()
    assert all(writer.writes == [2] for writer in writers)


async def test_a_repeat_is_answered_and_nothing_written_whatever_is_going_out() -> None:
    node = await start_parts(FakeClock())
    writers = await crowd(node)
    await node.hub.send(draft(BROADCAST, "t", 1, event_id="once"))
    broadcasting = asyncio.ensure_future(node.hub.send(draft(BROADCAST, "t", 2)))
    repeating = asyncio.ensure_future(node.hub.send(draft(BROADCAST, "t", 1, event_id="once")))
    await broadcasting
    assert repeating.done()
    repeats = [await repeating, await node.hub.send(draft(BROADCAST, "t", 1, event_id="once"))]
    assert [repeat.repeated for repeat in repeats] == [True, True]
    await node.container.feed().apply(await node.container.store().log.head(), ())
    assert all(writer.writes == [1, 1] for writer in writers)


async def test_a_sender_learns_of_a_failure_and_the_next_is_served(
    node: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers = await crowd(node)
    hub = node.container.hub()
    monkeypatch.setattr(hub, "publish", broken)
    with pytest.raises(RuntimeError, match="broken"):
        await node.hub.send(draft(BROADCAST, "t", 1))
    monkeypatch.undo()
    assert (await node.hub.send(draft(BROADCAST, "t", 2))).connections == len(writers)


def broken(_messages: object) -> None:
    raise RuntimeError("broken")


async def test_no_more_of_what_other_nodes_pass_on_waits_than_may(node: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_app.fan_out.MAX_HEARD", 5)
    monkeypatch.setattr("sse_app.fan_out.MAX_HEARD_BYTES", 20)
    writers = await crowd(node)
    _, ada = await node.open(user_id="ada")
    hear = node.container.cluster().hear
    told = ((0, [1, 1], BROADCAST), (2, [9, 9], BROADCAST), (4, [1], BROADCAST), (5, [1], BROADCAST), (6, [1], ADA))
    for first, sizes, receiver in told:
        hear("there", passing(node, first, sizes, receiver))
    await until_published(node)
    assert [len(message.data) for message, _ in writers[0].given] == [1, 1, 9, 9]
    assert ada.given == writers[0].given
    assert (await node.hub.info()).dropped == 2 * (len(writers) + 1) + 1
    hear("there", passing(node, 7, [100] * 9, ADA))
    assert len(ada.given) == 4 + 9, "what needs not wait is not held back"


def passing(node: Parts, first: int, sizes: list[int], receiver: Receiver) -> Passing:
    now = node.clock.now()
    messages = (
        Message(f"e{first}-{number}", None, "t", receiver, Priority.NORMAL, b"1" * size, now)
        for number, size in enumerate(sizes)
    )
    return Passing(node.container.flow().head.epoch, first, tuple(messages))


async def until_published(node: Parts) -> None:
    if (publishing := node.container.fan_out()._publishing) is not None:
        await publishing
