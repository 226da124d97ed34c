"""What a browser's own EventSource makes of a stream (SPEC §2, Streams)."""

from __future__ import annotations

import pytest

from tests.integration.browser.native_stream import NativeStream
from tests.support.http import HubApi

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_it_hears_named_events_with_their_data_and_cursor(native: NativeStream, api: HubApi, user: str) -> None:
    await native.open(f"user_id={user}&group=team", ["invoice.paid", "rank_update"])
    data = {"amount": 12.5, "note": "zwölf\nund\u2028ein halb", "lines": [None, True, "\u0000"]}
    paid = await api.send("invoice.paid", data, user_id=user, persist=True)
    ranked = await api.send_to_group("team", "rank_update", 3, persist=True)

    [first] = await native.until("invoice.paid")
    [second] = await native.until("rank_update")

    assert (first.data, second.data) == (data, 3)
    assert first.last_event_id.startswith(f"{paid['seq']}-")
    assert second.last_event_id.startswith(f"{ranked['seq']}-")


async def test_a_type_named_message_is_the_browsers_default(native: NativeStream, api: HubApi, user: str) -> None:
    await native.open(f"user_id={user}", [])
    await native.page.evaluate("() => { source.onmessage = (event) => { window.heard = JSON.parse(event.data); }; }")
    await api.send("message", "plain", user_id=user)
    heard = await native.page.wait_for_function("window.heard")
    assert await heard.json_value() == "plain"


async def test_an_ephemeral_message_leaves_the_cursor_where_it_was(
    native: NativeStream, api: HubApi, user: str
) -> None:
    await native.open(f"user_id={user}", ["tick"])
    await api.send("tick", 1, user_id=user, persist=True)
    await api.send("tick", 2, user_id=user)

    kept, passing = await native.until("tick", 2)

    assert (kept.data, passing.data) == (1, 2)
    assert passing.last_event_id == kept.last_event_id


async def test_it_knows_where_to_resume_before_any_message_came(native: NativeStream, user: str) -> None:
    await native.open(f"user_id={user}", [])
    [opened] = await native.received("sse.open")
    assert opened.last_event_id != ""


async def test_a_client_that_is_sent_away_stops_for_good(native: NativeStream, api: HubApi, user: str) -> None:
    await native.open(f"id={user}", [])
    assert await api.disconnect(user) == {"disconnected": 1}

    await native.until_given_up()

    [closed] = await native.received("sse.close")
    assert closed.data["reconnect"] is False
    assert len(await native.received("sse.open")) == 1


async def test_a_client_that_is_told_to_reconnect_does_and_misses_nothing(
    native: NativeStream, api: HubApi, user: str
) -> None:
    await native.open(f"id={user}", ["tick"])
    await api.send("tick", 1, client_id=user, persist=True)
    await native.until("tick")
    assert await api.disconnect(user, reconnect=True) == {"disconnected": 1}
    await api.send("tick", 2, client_id=user, persist=True)

    ticks = await native.until("tick", 2)

    assert [tick.data for tick in ticks] == [1, 2]
    [closed] = await native.received("sse.close")
    assert closed.data["reconnect"] is True
    first, again = await native.received("sse.open")
    assert (first.data["resumed"], again.data["resumed"]) == (False, True)
    assert again.data["client_id"] == user
