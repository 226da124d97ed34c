"""What the test page shows of streams and their frames (SPEC §2, §3). Each test also asserts, by its fixture, that the
browser found nothing to complain of."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, Route, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from sse_adapters.http.app import http_app
from sse_adapters.http.options import HttpOptions
from sse_app import Settings, open_hub
from tests.integration.browser.demo_page import DemoPage
from tests.integration.http.serving import serve
from tests.support.http import API_PREFIX, HubApi

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROVEN = "received, none missing, none twice, each priority in order"


@pytest.mark.parametrize(
    ("form", "path"),
    [
        pytest.param("query", "/stream?id=tab-1&user_id={user}&group=team%2F7&group=news&unread=1", id="query"),
        pytest.param("path", "/stream/team%2F7/{user}?id=tab-1&group=news&unread=1", id="path"),
        pytest.param("mixed", "/stream/{user}?id=tab-1&group=team%2F7&group=news&unread=1", id="mixed"),
    ],
)
async def test_each_url_form_opens_the_same_stream(demo: DemoPage, api: HubApi, form: str, path: str) -> None:
    user = f"ada-{form}"
    await demo.use(user)
    await demo.part(f"open-form-{form}").check()
    await demo.part("open-client-id").fill("tab-1")
    await demo.part("open-groups").fill("team/7\nnews")
    await expect(demo.part("open-url")).to_have_text(API_PREFIX + path.format(user=user))

    stream = await demo.open_stream()

    await stream.until_shown("url", API_PREFIX + path.format(user=user))
    await stream.until_shown("client-id", "tab-1")
    await stream.until_shown("user-id", user)
    await stream.until_shown("groups", "news, team/7")
    await stream.until_shown("resumed", "no")
    await api.send_to_group("team/7", "alert", {"for": form})
    await expect(stream.frames("alert").get_by_test_id("frame-data")).to_have_text(f'{{"for":"{form}"}}')


async def test_a_cut_stream_gets_exactly_what_it_missed(demo: DemoPage) -> None:
    stream = await demo.open_stream()
    await stream.toggle()
    await stream.until_state("closed")
    await stream.send_numbered()
    await stream.until_verdict("0 of 20 received, 20 sent while cut: resume to get them")

    await stream.toggle()

    await stream.until_verdict(f"20 of 20 {PROVEN}")
    await stream.until_shown("resumed", "yes")
    await stream.send_numbered()
    await stream.until_verdict(f"40 of 40 {PROVEN}")


async def test_messages_whose_answer_is_lost_still_count_as_received(demo: DemoPage) -> None:
    demo.provoked = ["ERR_FAILED"]
    stream = await demo.open_stream()

    async def lose_answer(route: Route) -> None:
        await route.fetch()
        await stream.until_verdict(f"20 of 20 {PROVEN}")
        await route.abort()

    await demo.page.route("**/send/batch", lose_answer)
    await stream.part("send-numbered").click()

    await expect(stream.part("notice")).to_contain_text("Not sent: no_answer")
    await stream.until_verdict(f"20 of 20 {PROVEN}")


@pytest.mark.parametrize("kind", ["user", "client", "group", "broadcast"])
async def test_each_way_of_sending_reaches_the_stream(demo: DemoPage, kind: str) -> None:
    await demo.part("open-client-id").fill("tab-2")
    await demo.part("open-groups").fill("crew")
    stream = await demo.open_stream()
    await demo.part(f"send-kind-{kind}").check()
    await demo.part("send-persist").uncheck()
    receiver = {"client": {"client_id": "tab-2"}, "group": {"group": "crew"}}.get(kind, {})

    await demo.send(event_type=f"to.{kind}", data='{"rate": 1.50}', **receiver)

    await expect(stream.frames(f"to.{kind}").get_by_test_id("frame-data")).to_have_text('{"rate": 1.50}')
    await expect(demo.part("send-answer").get_by_test_id("answer-status")).to_have_text("201 Created")


async def test_a_batch_reaches_the_stream_and_tells_of_the_message_that_was_refused(demo: DemoPage, user: str) -> None:
    stream = await demo.open_stream()
    await demo.part("send-kind-batch").check()
    good = f'{{"to": {{"user_id": "{user}"}}, "event_type": "good", "data": 1}}'
    bad = f'{{"to": {{"user_id": "{user}"}}, "event_type": "bad type", "data": 2}}'

    await demo.send(batch=f'{{"messages": [{good}, {bad}]}}')

    await expect(stream.frames("good")).to_have_count(1)
    answer = demo.part("send-answer")
    await expect(answer).to_have_attribute("data-status", "200")
    await expect(answer.get_by_test_id("answer-code")).to_have_text("Message 2: invalid_event_type")


async def test_a_refused_message_is_explained(demo: DemoPage) -> None:
    demo.provoked = ["400"]
    await demo.send(event_type="sse.mine")

    answer = demo.part("send-answer")
    await expect(answer.get_by_test_id("answer-status")).to_have_text("400 Bad Request")
    await expect(answer.get_by_test_id("answer-code")).to_have_text("invalid_event_type")
    await expect(answer.get_by_test_id("answer-detail")).to_contain_text("event_type")


async def test_a_refused_stream_is_explained(demo: DemoPage) -> None:
    demo.provoked = ["400"]
    await demo.part("open-more").click()
    await demo.part("open-since").fill("yesterday")

    stream = await demo.open_stream("closed")

    await stream.until_shown("state", "closed (refused by the server)")
    await expect(stream.part("notice")).to_contain_text("400 invalid_since")


async def test_a_client_that_was_sent_away_learns_why_it_may_not_return(demo: DemoPage, api: HubApi) -> None:
    await demo.part("open-client-id").fill("tab-3")
    stream = await demo.open_stream()
    await api.disconnect("tab-3")
    await stream.until_shown("notice", "The server ended this stream: disconnected.")
    await stream.until_shown("state", "closed (ended by the server)")

    await stream.toggle()

    await stream.until_shown("notice", "204: this client was disconnected, and is to stay away for now.")


async def test_only_the_types_asked_for_come(demo: DemoPage, api: HubApi, user: str) -> None:
    await demo.part("open-more").click()
    await demo.part("open-event-types").fill("alert, notice")
    stream = await demo.open_stream()
    for event_type in ("system", "alert", "notice"):
        await api.send(event_type, event_type, user_id=user, persist=True)

    await expect(stream.frames("notice")).to_have_count(1)
    await expect(stream.frames("alert")).to_have_count(1)
    await expect(stream.frames("system")).to_have_count(0)


async def test_six_streams_bring_a_warning_until_one_is_cut(demo: DemoPage) -> None:
    warning = demo.part("connections-warning")
    streams = [await demo.open_stream() for _ in range(5)]
    await expect(warning).to_be_hidden()
    streams.append(await demo.open_stream())
    await expect(warning).to_contain_text("6 streams are open")

    await streams[0].toggle()

    await expect(warning).to_be_hidden()
    await streams[1].part("remove").click()
    await expect(demo.part("stream")).to_have_count(5)


@pytest.mark.parametrize("width", [360, 1280])
async def test_it_fits_a_phone_and_a_desk(demo: DemoPage, width: int) -> None:
    await demo.page.set_viewport_size({"width": width, "height": 800})
    assert await demo.fits_its_width()
    await demo.part("open-client-id").fill("c" * 128)
    await demo.part("open-groups").fill("g" * 128)
    stream = await demo.open_stream()
    await demo.send(data=f'"{"d" * 500}"', event_type="t" * 64)
    await expect(stream.frames("t" * 64)).to_have_count(1)
    await stream.send_numbered()
    await demo.part("list-messages").click()
    await expect(demo.part("message")).to_have_count(20)
    await demo.part("subscribe").click()
    await expect(demo.part("subscription-answer")).not_to_be_empty()

    assert await demo.fits_its_width()


async def test_it_finds_the_api_wherever_both_are_mounted(page: Page) -> None:
    async with open_hub(Settings(database_url="memory://")) as hub:
        whole_hub: Any = http_app(hub, HttpOptions(prefix="/push/v2"))
        app: Any = Starlette(routes=[Mount("/hub", app=whole_hub)])
        async with serve(app) as base_url:
            demo = await DemoPage.load(page, f"{base_url}/hub")
            stream = await demo.open_stream()
            await stream.until_shown("url", "/hub/push/v2/stream?user_id=alice&unread=1")
            await stream.send_numbered()
            await stream.until_verdict(f"20 of 20 {PROVEN}")
            assert demo.unexpected_complaints() == []
