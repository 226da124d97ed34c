"""A log that is set back or replaced while nodes stand on it: nothing is skipped in silence (SPEC §3.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import product
from typing import Any

import pytest

from sse_adapters.memory import MemoryStore
from sse_app.sending import draft
from sse_domain.api import Receipt
from sse_domain.cursor import Positions
from sse_domain.errors import StoreUnavailable
from sse_domain.message import Receiver
from sse_domain.notes import Committed
from sse_domain.replay import LogHead, ReplayMode
from tests.unit.app.conftest import FakeClock, Parts, RecordingWriter, start_parts

ADA = Receiver.user("ada")


def backup(store: MemoryStore) -> Callable[[], None]:
    """Take a backup; what is given restores it, under the nodes that run on the store."""
    state = store.log._state
    copy = deepcopy(vars(state))
    return lambda: vars(state).update(deepcopy(copy))


async def node_on(store: MemoryStore) -> Parts:
    return await start_parts(FakeClock(), store=store)


async def send(node: Parts, *numbers: int) -> None:
    for number in numbers:
        await node.hub.send_to_user("ada", f"t{number}", number, persist=True)


async def resumed(node: Parts, writer: RecordingWriter) -> RecordingWriter:
    """The stream that a reader opens whose last one was this: it must be told of a reset."""
    assert writer.closed == ("log_replaced", True)
    cursor = writer.cursors[-1] if writer.cursors else writer.begun
    _, again = await node.open(user_id="ada", cursor=cursor)
    assert again.told("sse.reset") == [{"reason": "other_log"}]
    return again


async def test_a_log_that_was_set_back_gets_another_name_and_its_streams_begin_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore(epoch="original")
    node = await node_on(store)
    await send(node, 1, 2)
    restore = backup(store)
    _, writer = await node.open(user_id="ada")
    await send(node, 3, 4)
    restore()
    for _ in range(3):
        await node.container.feed().catch_up()
    assert (await store.log.head()).epoch not in ("original", "")
    [warning] = [record for record in caplog.records if record.name == "sse_hub.feed"]
    assert (
        "set back or replaced: it was original and went up to 4, now it is original and goes up to 2" in warning.message
    )
    again = await resumed(node, writer)
    await send(node, 5)
    assert again.types == ["t1", "t2", "t5"]
    assert again.cursors[-1] == f"3-{(await store.log.head()).epoch}"
    _, exact = await node.open(user_id="ada", cursor=again.cursors[1])
    assert (exact.types, exact.told("sse.reset")) == (["t5"], [])


async def test_the_first_append_after_finds_it_however_far_it_goes() -> None:
    for sent in (1, 2, 3, 9):
        store = MemoryStore(epoch="original")
        node = await node_on(store)
        restore = backup(store)
        _, writer = await node.open(user_id="ada")
        await send(node, 1, 2)
        restore()
        drafts = [draft(ADA, f"new{number}", number, persist=True) for number in range(sent)]
        receipts = await node.hub.send_batch(drafts)
        assert [receipt.seq for receipt in receipts if isinstance(receipt, Receipt)] == list(range(1, sent + 1))
        assert (await resumed(node, writer)).types == [f"new{number}" for number in range(sent)]


async def test_a_log_that_was_replaced_by_another_keeps_its_name() -> None:
    store = MemoryStore(epoch="original")
    node = await node_on(store)
    _, writer = await node.open(user_id="ada")
    await send(node, 1)
    vars(store.log._state).update(vars(MemoryStore(epoch="other000").log._state))
    there = await node_on(store)
    await send(there, 7, 8, 9)
    await node.container.feed().catch_up()
    assert (await store.log.head()).epoch == "other000"
    assert (await resumed(node, writer)).types == ["t7", "t8", "t9"]


async def test_all_nodes_take_the_one_new_name() -> None:
    store = MemoryStore(epoch="original")
    nodes = [await node_on(store) for _ in range(3)]
    restore = backup(store)
    writers = [(await node.open(user_id="ada"))[1] for node in nodes]
    await send(nodes[0], 1)
    await nodes[1].container.feed().catch_up()
    restore()  # the last one has not seen what is undone, but its readers may come with what the others gave
    for node in nodes:
        await node.container.feed().catch_up()
    epochs = {node.container.flow().head.epoch for node in nodes}
    assert epochs == {(await store.log.head()).epoch}
    for node, writer in zip(nodes, writers, strict=True):
        await resumed(node, writer)


async def test_until_it_has_another_name_no_stream_opens() -> None:
    store = MemoryStore(epoch="original")
    node = await node_on(store)
    restore = backup(store)
    _, writer = await node.open(user_id="ada")
    await send(node, 1, 2)
    restore()

    async def fail(*_: object) -> None:
        raise StoreUnavailable("gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.log, "rename", fail)
        with pytest.raises(StoreUnavailable):
            await node.container.feed().catch_up()
        assert writer.closed == ("log_replaced", True)
        there = await node_on(store)  # it began after that, and knows nothing of it
        await send(there, 3, 4, 5)
        for cursor in (writer.cursors[-1], None):
            with pytest.raises(StoreUnavailable):
                await node.open(user_id="ada", cursor=cursor)
    assert (await resumed(node, writer)).types == ["t3", "t4", "t5"]
    assert (await store.log.head()).epoch != "original"


async def test_a_stream_that_opens_meanwhile_begins_on_the_log_that_there_is_then() -> None:
    for cursor, together in product(("2-original", None), (True, False)):
        store = MemoryStore(epoch="original")
        node = await node_on(store)
        await node.hub.subscribe("ada", "team")
        restore = backup(store)
        await node.hub.unsubscribe("ada", "team")
        await send(node, 1, 2, 3)
        with overtaken(store, restore, node, together=together):
            (stream, writer), (later, _) = await asyncio.gather(
                node.open(user_id="ada", cursor=cursor), node.open(user_id="ada", cursor=cursor)
            )
        await node.hub.send_to_group("team", "t4", 4, persist=True)
        assert len(writer.told("sse.open")) == 1
        assert writer.begun == f"0-{(await store.log.head()).epoch}"
        assert len(writer.told("sse.reset")) == (cursor is not None)
        assert writer.types == ["t4"]
        for opened in (stream, later):
            opened.leave()
        assert not node.container.hub().users


@contextmanager
def overtaken(store: MemoryStore, restore: Callable[[], None], node: Parts, *, together: bool) -> Iterator[None]:
    """Two streams that open are looked up, `together` or one by one, and not open yet, when the log is set back and the
    node finds that. One by one, the first begins again while the other still waits."""
    count, calls = store.inbox.unread, 0

    async def restored_meanwhile(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.sleep(0)
            restore()
            await node.container.feed().catch_up()
        elif calls == 2:
            for _ in range(10):
                await asyncio.sleep(0)
        return await count(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.inbox, "unread", restored_meanwhile)
        patch.setattr(node.container.lookup()._openings, "_most", 2 if together else 1)
        yield
    assert calls == (2 if together else 4)


async def test_what_was_given_of_what_is_gone_does_not_count_as_given() -> None:
    for flushed in (True, False):
        store = MemoryStore(epoch="original")
        node = await node_on(store)
        restore = backup(store)
        _, writer = await node.open(user_id="ada")
        await send(node, 1, 2, 3)
        restore()
        if flushed:
            await node.container.ledger().flush()  # in the very moment
        await node.container.node()._record_delivered()
        recorded = (await store.inbox.delivered([ADA])).get(ADA)
        assert recorded is None or recorded.positions == Positions(0, 0, 0)
        assert writer.closed is not None
        await send(node, 4, 5)
        _, later = await node.open(user_id="ada")
        assert later.types == ["t4", "t5"]


async def test_memberships_are_as_the_log_has_them() -> None:
    store = MemoryStore(epoch="original")
    node = await node_on(store)
    await node.hub.subscribe("ada", "kept")
    restore = backup(store)
    _, writer = await node.open(user_id="ada")
    await node.hub.unsubscribe("ada", "kept")
    await node.hub.subscribe("ada", "undone")
    restore()
    for group in ("undone", "kept"):
        await node.hub.send_to_group(group, group, 1, persist=True)
    again = await resumed(node, writer)
    for group in ("undone", "kept"):
        await node.hub.send_to_group(group, group, 2, persist=True)
    assert again.types == ["kept", "kept"]


async def test_what_was_told_of_the_log_before_is_not_taken_for_what_comes_in_its_place() -> None:
    store = MemoryStore(epoch="original")
    node, other = await node_on(store), await node_on(store)
    restore = backup(store)
    await send(other, *range(5))
    lost = await store.log.read(4, 1)
    restore()
    feed = node.container.feed()
    feed.hint(Committed(LogHead(epoch="original", seq=5), tuple(lost)))
    vars(store.log._state)["epoch"] = "replaced"
    await send(node, 10)  # finds out
    _, writer = await node.open(user_id="ada", replay=ReplayMode.NONE)
    await other.container.feed().catch_up()
    await send(other, 12, 13, 14, 15)
    head = await store.log.head()
    feed.hint(Committed(head, tuple(await store.log.read(1, 9))))
    assert await feed.apply_hints() is None
    assert writer.types == ["t12", "t13", "t14", "t15"]
