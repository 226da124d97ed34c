"""Where a stream begins: the replay modes, recovery by time, and what happens to a cursor that can't be honoured."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from tests.integration.service.reading import MARKER, numbers, opened, owed, seq_of, up_to_now
from tests.support.event_stream import open_stream
from tests.support.http import HubApi, open_api
from tests.support.server_process import ServerProcess, run_server

ADA = {"user_id": "ada"}


async def send(api: HubApi, *numbers: int) -> None:
    """One persisted message to Ada for each, committed one after the other."""
    for n in numbers:
        await api.send("note", {"n": n}, user_id="ada", persist=True)


async def given(server: ServerProcess, api: HubApi, cursor: str | None = None, **params: str) -> list[int]:
    """What a new stream of Ada's is given now."""
    async with open_stream(server.base_url, params=ADA | params, last_event_id=cursor) as stream:
        return numbers(await owed(api, stream))


async def test_pending_gives_what_no_stream_of_the_user_was_given(server: ServerProcess, api: HubApi) -> None:
    await send(api, 1, 2)
    assert await given(server, api) == [1, 2]
    await send(api, 3)
    assert await given(server, api, event_types=f"note,{MARKER}") == [3], "filtered"
    assert await given(server, api, replay="pending") == [3], "what a filtered stream was given does not count"
    assert await given(server, api) == []
    assert await given(server, api, cursor=None, id="new-device") == []


async def test_pending_is_remembered_over_an_orderly_restart(server: ServerProcess, api: HubApi) -> None:
    await send(api, 1, 2)
    async with open_stream(server.base_url, params=ADA) as stream:
        assert numbers(await owed(api, stream)) == [1, 2]
        # The stream is still open when the server is told to stop.
        assert await server.terminate() == 0
    await server.restart_on_same_port()
    await send(api, 3)
    assert await given(server, api) == [3]
    assert [m["status"] for m in (await api.messages("ada"))["messages"]] == ["sent"] * 3


async def test_a_crash_may_repeat_but_never_loses(server: ServerProcess, api: HubApi) -> None:
    await send(api, 1, 2)
    assert await given(server, api) == [1, 2]
    await server.kill9()
    await server.restart_on_same_port()
    await send(api, 3)
    assert (await given(server, api))[-1:] == [3]
    await server.kill9()
    await server.restart_on_same_port()
    assert set(await given(server, api)) <= {1, 2, 3}
    assert (await given(server, api, replay="unread")) == [1, 2, 3]


async def test_unread_gives_all_that_is_not_read_and_none_gives_nothing(server: ServerProcess, api: HubApi) -> None:
    await send(api, 1, 2, 3, 4)
    assert await given(server, api) == [1, 2, 3, 4]
    events = [message["event_id"] for message in (await api.messages("ada"))["messages"]]
    await api.mark_read("ada", event_ids=[events[0], events[2]])
    assert await given(server, api, replay="unread") == [2, 4]
    assert await given(server, api, replay="none") == []
    await api.mark_read("ada", all=True)
    assert await given(server, api, replay="unread") == []


async def test_a_resume_leaves_out_what_was_read_meanwhile_and_nothing_else(server: ServerProcess, api: HubApi) -> None:
    async with open_stream(server.base_url, params=ADA) as stream:
        await opened(stream)
        cursor = stream.last_event_id
    await send(api, 1, 2, 3)
    await api.mark_read("ada", event_ids=[(await api.messages("ada"))["messages"][1]["event_id"]])
    assert await given(server, api, cursor=cursor) == [1, 3]
    assert await given(server, api, cursor=cursor) == [1, 3], "row status never filters a resume by cursor"


async def test_since_begins_at_a_time_in_either_spelling_and_a_cursor_wins(server: ServerProcess, api: HubApi) -> None:
    await send(api, 1, 2, 3, 4)
    assert await given(server, api) == [1, 2, 3, 4]
    third = (await api.messages("ada"))["messages"][2]
    async with open_stream(server.base_url, params=ADA | {"since": third["created_at"]}) as stream:
        told = await opened(stream)
        assert (told["resumed"], told["complete"]) == (False, True)
        assert seq_of(stream.frames[1].last_event_id) == 2
        assert numbers(await up_to_now(api, stream, told["client_id"])) == [3, 4]
    # Epoch seconds, rounded down to what a float holds for sure: the third message or the one before it.
    epoch_seconds = f"{datetime.fromisoformat(third['created_at']).timestamp():.6f}"
    assert (await given(server, api, since=epoch_seconds))[-2:] == [3, 4]
    cursor = f"3-{stream.last_event_id.split('-')[1]}"
    assert await given(server, api, cursor=cursor, since=third["created_at"]) == [4]
    assert await given(server, api, since="2999-01-01T00:00:00Z") == []


async def test_a_group_by_url_counts_from_the_opening_and_by_subscription_from_the_join(
    server: ServerProcess, api: HubApi
) -> None:
    for group in ("lobby", "team"):
        await api.send_to_group(group, "note", {"n": 1}, persist=True)
    await api.subscribe("ada", "team")
    for group in ("lobby", "team"):
        await api.send_to_group(group, "note", {"n": 2}, persist=True)
    assert await given(server, api, group="lobby") == [2], "only the one to the team, after the join"
    for group in ("lobby", "team"):
        await api.send_to_group(group, "note", {"n": 3}, persist=True)
    await api.unsubscribe("ada", "team")
    await api.subscribe("ada", "team")
    assert await given(server, api, group="lobby", replay="unread") == [], "leaving revokes, joining begins anew"


async def check_reset(server: ServerProcess, api: HubApi, cursor: str, reason: str, expected: list[int]) -> None:
    """The order of the first frames of a stream whose cursor can't be honoured, and what it is given after."""
    for params, header in ((ADA, cursor), (ADA | {"last_event_id": cursor}, None)):
        async with open_stream(server.base_url, params=params | {"replay": "unread"}, last_event_id=header) as stream:
            told = await opened(stream)
            assert numbers(await up_to_now(api, stream, told["client_id"])) == expected
        assert (told["resumed"], told["complete"]) == (False, False)
        retry, priming, open_frame, reset, *_ = stream.frames
        assert (retry.retry, priming.dispatched, open_frame.event) == (2000, False, "sse.open")
        assert priming.id is not None
        assert (reset.event, reset.json, reset.id) == ("sse.reset", {"reason": reason}, None)
        assert [frame.event for frame in stream.frames].count("sse.reset") == 1


async def test_an_unknown_cursor_is_reset_and_then_replayed_as_without_one(server: ServerProcess, api: HubApi) -> None:
    await send(api, 1, 2)
    epoch = (await api.info())["storage"]["epoch"]
    ahead = [f"9999-{epoch}", f"1-{epoch}-1.1.9"]
    for cursor in ("nonsense", "7", f"1-{epoch}-!", f"1-{epoch}-1.1", "\xe9" * 300, *ahead):
        await check_reset(server, api, cursor, "unknown", [1, 2])


async def test_a_cursor_of_another_log_is_reset(server: ServerProcess, api: HubApi, tmp_path: Path) -> None:
    await send(api, 1)
    async with open_stream(server.base_url, params=ADA) as stream:
        await owed(api, stream)
        cursor = stream.last_event_id
    (tmp_path / "other").mkdir()
    async with run_server(tmp_path / "other") as other, open_api(other.base_url) as other_api:
        await send(other_api, 11, 12)
        await check_reset(other, other_api, cursor, "other_log", [11, 12])


async def test_a_cursor_older_than_what_is_kept_is_reset_and_one_that_missed_nothing_is_not(tmp_path: Path) -> None:
    days = str(3 / 86_400)
    async with (
        run_server(tmp_path, {"SSE_RETENTION_DAYS": days, "SSE_CLEANUP_SECONDS": "0.1"}) as server,
        open_api(server.base_url) as api,
        open_stream(server.base_url, params=ADA | {"unread": "1"}) as watcher,
    ):
        await opened(watcher)
        old = watcher.last_event_id
        await send(api, 1, 2)
        # The counts of a watched user are told when retention changes them.
        await watcher.until(lambda frame: frame.event == "sse.unread" and frame.json["total"] == 2)
        await watcher.until(lambda frame: frame.event == "sse.unread" and frame.json["total"] == 0)
        current = watcher.last_event_id
        await check_reset(server, api, old, "too_old", [])
        async with open_stream(server.base_url, params=ADA, last_event_id=current) as stream:
            told = await opened(stream)
            assert (told["resumed"], told["complete"]) == (True, True)
        async with open_stream(server.base_url, params=ADA | {"since": "0"}) as stream:
            assert (await opened(stream))["complete"] is False, "what was removed can't be recovered by time either"
