"""Who gets what (SPEC §3.6): each stream its own messages and no others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tests.integration.service.reading import numbers, opened, owed, seq_of, up_to_now
from tests.support.event_stream import open_stream
from tests.support.http import HubApi
from tests.support.server_process import ServerProcess

# Receivers, and whether they are user `iso` on client `iso-phone` with `?group=iso-group`.
AUDIENCES: list[tuple[dict[str, object], bool]] = [
    ({"user_id": "iso"}, True),
    ({"user_id": "Iso"}, False),
    ({"user_id": "iso "}, False),
    ({"user_id": "iso-phone"}, False),
    ({"client_id": "iso-phone"}, True),
    ({"client_id": "iso"}, False),
    ({"group": "iso-group"}, True),
    ({"group": "ISO-GROUP"}, False),
    ({"group": "iso"}, False),
    ({"broadcast": True}, True),
]


async def test_a_stream_gets_its_own_messages_and_no_other_whatever_cursor_it_sends(
    server: ServerProcess, api: HubApi
) -> None:
    await api.send("note", {"n": -1}, user_id="Iso", persist=True)
    start = (await api.info())["storage"]
    messages = [
        {"to": to, "event_type": "note", "data": {"n": n}, "persist": True} for n, (to, _) in enumerate(AUDIENCES)
    ]
    await api.send_batch(messages)
    expected = [n for n, (_, hers) in enumerate(AUDIENCES) if hers]
    params = {"user_id": "iso", "id": "iso-phone", "group": "iso-group"}
    for seq in (start["last_seq"], 0):
        cursor = f"{seq}-{start['epoch']}"
        async with open_stream(server.base_url, params=params, last_event_id=cursor) as stream:
            given = await owed(api, stream)
            assert numbers(frame for frame in given if seq_of(frame.id or "") > start["last_seq"]) == expected
            for to, hers in AUDIENCES:
                [answer] = await api.send_batch([{"to": to, "event_type": "note", "data": {"n": 0}}])
                assert (answer["connections"], answer["seq"]) == (int(hers), None)
            assert len(await up_to_now(api, stream, "iso-phone")) == len(expected)


async def test_many_streams_get_a_broadcast_each_once(server: ServerProcess, api: HubApi) -> None:
    async with AsyncExitStack() as stack:
        opening = [
            stack.enter_async_context(open_stream(server.base_url, params={"replay": "none", "id": f"many-{n}"}))
            for n in range(50)
        ]
        streams = await asyncio.gather(*opening)
        await asyncio.gather(*(opened(stream) for stream in streams))
        for n in range(3):
            assert (await api.broadcast("note", {"n": n}, persist=n == 1))["connections"] >= 50
        for number, stream in enumerate(streams):
            frames = await up_to_now(api, stream, f"many-{number}")
            assert numbers(frames) == [0, 1, 2]
            assert [frame.id is None for frame in frames] == [True, False, True]
