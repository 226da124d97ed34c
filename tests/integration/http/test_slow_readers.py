"""Readers that stall or vanish, over a real socket: nobody else notices, and nothing they are owed is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sse_adapters.http.app import http_app
from sse_app import HubService
from sse_app.http_protocol import TransportProtocol
from tests.integration.http.serving import serve
from tests.support.event_stream import EventStream, open_stream
from tests.support.http import open_api
from tests.support.patience import within

STREAM = "/api/v1/sse/stream"
SMALL_BUFFER = 4096
MESSAGES = 600  # more than may wait in memory for one stream
DATA = "x" * 4000


@pytest.fixture(params=[TransportProtocol, HttpToolsProtocol], ids=["own server", "plain uvicorn"])
async def base_url(request: pytest.FixtureRequest, hub: HubService) -> AsyncIterator[str]:
    async with serve(http_app(hub), request.param) as url:
        yield url


async def state_of(hub: HubService, client_id: str) -> str:
    return next(client.state for client in await hub.clients(None, 100) if client.client_id == client_id)


async def flood(hub: HubService, stalled: EventStream) -> None:
    """Send until the stalled stream, whose client is `stalled`, has fallen back to the log."""
    await stalled.next()
    for number in range(MESSAGES):
        await hub.broadcast("t", [number, DATA], persist=True)
    assert await state_of(hub, "stalled") == "lagging"


async def test_a_stalled_reader_gets_everything_once_it_reads_and_holds_up_nobody(
    base_url: str, hub: HubService
) -> None:
    async with (
        open_stream(base_url, STREAM, params={"id": "stalled"}, receive_buffer=SMALL_BUFFER) as stalled,
        open_stream(base_url, STREAM, params={"id": "quick"}) as quick,
    ):
        await quick.next()
        await stalled.next()
        for number in range(MESSAGES):
            await hub.broadcast("t", [number, DATA], persist=True)
            assert (await quick.next()).json[0] == number
        assert await state_of(hub, "stalled") == "lagging"
        assert [(await stalled.next()).json[0] for _ in range(MESSAGES)] == list(range(MESSAGES))
        await hub.broadcast("t", ["live"])
        assert (await stalled.next()).json == ["live"]


async def test_a_stalled_stream_that_is_ended_is_cut_off_and_its_cursor_resumes(base_url: str, hub: HubService) -> None:
    async with open_stream(base_url, STREAM, params={"id": "stalled"}, receive_buffer=SMALL_BUFFER) as stalled:
        await flood(hub, stalled)
        assert await hub.disconnect("stalled", reconnect=True) == 1
        assert await hub.clients(None, 10) == []
        received = [frame.json[0] for frame in await stalled.rest() if frame.dispatched]
        assert not stalled.clean
    async with open_stream(base_url, STREAM, last_event_id=stalled.last_event_id) as resumed:
        await resumed.next()
        rest = [(await resumed.next()).json[0] for _ in range(MESSAGES - len(received))]
    assert received + rest == list(range(MESSAGES))


@pytest.mark.parametrize("stalled", [True, False])
@pytest.mark.parametrize("leave", [EventStream.close, EventStream.abort], ids=["closes", "resets"])
async def test_a_reader_that_vanishes_is_forgotten(
    base_url: str, hub: HubService, caplog: pytest.LogCaptureFixture, leave: type, stalled: bool
) -> None:
    params = {"id": "stalled", "user_id": "u1"}
    async with open_stream(base_url, STREAM, params=params, receive_buffer=SMALL_BUFFER) as stream:
        if stalled:
            await flood(hub, stream)
        else:
            await stream.next()
        leave(stream)
        async with within(10), open_api(base_url) as api:
            while (await api.info())["connections"]:
                pass
    assert [record for record in caplog.records if record.name == "sse_hub.http"] == []
