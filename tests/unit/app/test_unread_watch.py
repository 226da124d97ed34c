"""`sse.unread`: told after the counts change, once for all that happened since."""

from __future__ import annotations

from tests.unit.app.conftest import Parts


async def test_counts_are_told_after_they_change_and_only_then(node: Parts) -> None:
    _, writer = await node.open(user_id="ada", unread=True)
    watch = node.container.unread()
    await watch.flush()
    assert writer.told("sse.unread") == []

    await node.hub.subscribe("ada", "team")
    await node.hub.send_to_user("ada", "a", 1, persist=True)
    await node.hub.send_to_group("team", "b", 2, persist=True)
    await node.hub.broadcast("c", 3, persist=True)
    await node.hub.send_to_user("ada", "ephemeral", 4)
    await watch.flush()
    [counts] = writer.told("sse.unread")
    assert counts["total"] == 3
    assert counts["by_group"] == {"team": 1}

    await node.hub.mark_read("ada", everything=True)
    await watch.flush()
    await watch.flush()
    assert [told["total"] for told in writer.told("sse.unread")] == [3, 0]


async def test_an_expiry_changes_the_counts_by_itself(node: Parts) -> None:
    _, writer = await node.open(user_id="ada", unread=True)
    await node.hub.send_to_user("ada", "short", 1, persist=True, ttl=10)
    watch = node.container.unread()
    await watch.flush()
    node.clock.advance(9.999999)
    await watch.flush()
    node.clock.advance(0.000001)
    await watch.flush()
    assert [told["total"] for told in writer.told("sse.unread")] == [1, 0]


async def test_a_blocked_stream_is_told_the_newest_counts_when_it_drains(node: Parts) -> None:
    _, writer = await node.open(user_id="ada", unread=True)
    writer.blocked = True
    watch = node.container.unread()
    for number in range(3):
        await node.hub.send_to_user("ada", "a", number, persist=True)
        await watch.flush()
    writer.release()
    assert [told["total"] for told in writer.told("sse.unread")] == [3]


async def test_a_user_without_watching_streams_is_forgotten(node: Parts) -> None:
    stream, writer = await node.open(user_id="ada", unread=True)
    stream.leave()
    await node.hub.send_to_user("ada", "a", 1, persist=True)
    await node.container.unread().flush()
    assert writer.told("sse.unread") == []


async def test_a_second_stream_does_not_keep_the_first_from_being_told(node: Parts) -> None:
    _, first = await node.open(user_id="ada", unread=True)
    await node.hub.send_to_user("ada", "a", 1, persist=True)
    _, second = await node.open(user_id="ada", unread=True)
    await node.container.unread().flush()
    assert [told["total"] for told in first.told("sse.unread")] == [1]
    assert second.told("sse.unread") == []
