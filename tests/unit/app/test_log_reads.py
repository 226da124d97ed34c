"""Reading the log for streams that are behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sse_domain.errors import StoreUnavailable
from sse_domain.replay import ReplayMode, StreamRequest
from tests.unit.app.conftest import Parts, RecordingWriter


@pytest.mark.parametrize("failure", [StoreUnavailable("gone"), ValueError("a bug")])
async def test_a_stream_whose_replay_fails_stays_open_and_is_served_later(
    node: Parts, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    await node.hub.send_to_user("ada", "t", 1, persist=True)

    async def fail(*_: object) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(node.container.store().log, "replay", fail)
        _, writer = await node.open(user_id="ada")
    assert writer.types == []
    await node.container.heartbeat().sweep()
    await node.settle()
    assert writer.types == ["t"]


async def test_a_read_asked_for_as_the_last_reader_ends_is_made(node: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    await node.hub.send_to_user("ada", "t", 1, persist=True)
    flow, log = node.container.flow(), node.container.store().log
    monkeypatch.setattr(flow, "_concurrent_reads", 1)
    replay, go = log.replay, asyncio.Event()

    async def when_told(*arguments: Any) -> Any:
        await go.wait()
        return await replay(*arguments)

    monkeypatch.setattr(log, "replay", when_told)
    first, second = RecordingWriter(), RecordingWriter()
    await node.hub.open(StreamRequest(user_id="ada"), first)
    await asyncio.sleep(0)
    go.set()
    await asyncio.sleep(0)  # the first stream is served in this turn of the loop
    assert first.types == ["t"]
    await node.hub.open(StreamRequest(user_id="ada", replay=ReplayMode.UNREAD), second)
    await node.settle()
    assert second.types == ["t"]
