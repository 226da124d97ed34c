"""A browser over the end and the return of its server: exact resume (SPEC §3.3), or `sse.reset` (SPEC §3.5)."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.integration.browser.demo_page import DemoPage
from tests.integration.browser.native_stream import NativeStream
from tests.integration.browser.restarts import replace_database, send_offline, send_online
from tests.support.http import open_api
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

BEFORE, DOWN, AFTER = range(20), range(20, 40), range(40, 60)


@pytest.mark.parametrize("end", ["terminated", "killed"])
async def test_nothing_is_lost_or_doubled_over_a_restart(
    page: Page, mortal_server: ServerProcess, tmp_path: Path, end: str
) -> None:
    stream = await NativeStream.on_page_of(page, mortal_server.base_url)
    await stream.open("user_id=ada", ["number", "last"])
    await send_online(mortal_server, BEFORE)
    await stream.until("number", len(BEFORE))

    if end == "terminated":
        assert await mortal_server.terminate() == 0
        [closed] = await stream.until("sse.close")
        assert closed.data["reconnect"] is True
    else:
        await mortal_server.kill9()
    await stream.until_lost()
    await send_offline(tmp_path, DOWN)
    await mortal_server.restart_on_same_port()
    await send_online(mortal_server, AFTER)
    await stream.until("number", len(BEFORE) + len(DOWN) + len(AFTER))
    async with open_api(mortal_server.base_url) as api:
        await api.send("last", None, user_id="ada", persist=True)
    await stream.until("last")

    numbers = [event.data for event in await stream.received("number")]
    assert sorted(numbers) == [*BEFORE, *DOWN, *AFTER]
    for priority in range(3):
        of_priority = [number for number in numbers if number % 3 == priority]
        assert of_priority == sorted(of_priority)
    assert [event.data["resumed"] for event in await stream.received("sse.open")] == [False, True]
    assert await stream.received("sse.reset") == []


async def test_a_replaced_database_is_told(page: Page, mortal_server: ServerProcess, tmp_path: Path) -> None:
    stream = await NativeStream.on_page_of(page, mortal_server.base_url)
    await stream.open("user_id=ada", ["number"])
    await send_online(mortal_server, [1])
    await stream.until("number")

    await replace_database(mortal_server, tmp_path)
    await send_online(mortal_server, [2])

    numbers = await stream.until("number", 2)
    assert [event.data for event in numbers] == [1, 2]
    [reset] = await stream.received("sse.reset")
    assert reset.data == {"reason": "other_log"}
    assert [event.data["complete"] for event in await stream.received("sse.open")] == [True, False]


async def test_the_test_page_resumes_by_itself_and_proves_it(page: Page, mortal_server: ServerProcess) -> None:
    demo = await DemoPage.load(page, mortal_server.base_url)
    stream = await demo.open_stream()
    await stream.send_numbered()
    await stream.until_verdict("20 of 20 received, none missing, none twice, each priority in order")

    await mortal_server.kill9()
    await stream.until_state("connecting")
    await mortal_server.restart_on_same_port()
    await stream.until_state("open")
    await stream.send_numbered()

    await stream.until_verdict("40 of 40 received, none missing, none twice, each priority in order")
    await stream.until_shown("resumed", "yes")


async def test_the_test_page_tells_of_a_reset(page: Page, mortal_server: ServerProcess, tmp_path: Path) -> None:
    demo = await DemoPage.load(page, mortal_server.base_url)
    stream = await demo.open_stream()
    await stream.until_shown("complete", "yes")

    await replace_database(mortal_server, tmp_path)

    await stream.until_shown("notice", "Reset: other_log. The cursor could not be honoured; replay begins anew.")
    await stream.until_shown("complete", "no")
