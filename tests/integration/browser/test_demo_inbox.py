"""The test page's inbox: what it shows of the inbox contract (SPEC §4)."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.integration.browser.demo_page import DemoPage
from tests.support.http import HubApi

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_unread_moves_on_every_stream_and_in_the_inbox(demo: DemoPage, api: HubApi, user: str) -> None:
    streams = [await demo.open_stream(), await demo.open_stream()]
    counts = [demo.part("unread-total"), *(stream.part("unread") for stream in streams)]

    async def expect_unread(number: int) -> None:
        for count in counts:
            await expect(count).to_have_text(str(number))

    await expect_unread(0)
    for priority in ("normal", "urgent", "urgent"):
        await api.send("alert", {}, user_id=user, persist=True, priority=priority)
    await expect_unread(3)
    await expect(demo.part("unread-parts")).to_contain_text("urgent 2")

    await demo.part("list-messages").click()
    messages = demo.part("message")
    await expect(messages).to_have_count(3)
    await messages.first.get_by_test_id("message-read").click()
    await expect_unread(2)
    await expect(messages.first.get_by_test_id("message-status")).to_have_text("read")

    await demo.part("read-all").click()
    await expect_unread(0)
    await expect(demo.part("messages").locator('[data-status="read"]')).to_have_count(3)


async def test_a_long_list_comes_page_by_page(demo: DemoPage, api: HubApi, user: str) -> None:
    message = {"to": {"user_id": user}, "event_type": "alert", "persist": True}
    await api.send_batch([message | {"data": number} for number in range(25)])
    await demo.part("list-messages").click()
    await expect(demo.part("list-state")).to_have_text("20 shown, there are more")

    await demo.part("list-more").click()

    await expect(demo.part("list-state")).to_have_text("25 shown")
    await expect(demo.part("message-data")).to_have_text([str(number) for number in range(25)])
    await expect(demo.part("list-more")).to_be_hidden()


async def test_data_is_shown_as_its_publisher_spelled_it(demo: DemoPage, user: str) -> None:
    await demo.send(data='{"b": 12.50, "a": 1e2}')
    await demo.part("list-messages").click()
    await expect(demo.part("message-data")).to_have_text('{"b":12.50,"a":1e2}')


async def test_a_subscription_takes_effect_on_the_open_stream(demo: DemoPage, api: HubApi, user: str) -> None:
    stream = await demo.open_stream()
    await demo.part("subscription-group").fill(f"group of {user}")
    await demo.part("subscription-event-types").fill("alert")
    await demo.part("subscribe").click()
    answer = demo.part("subscription-answer")
    await expect(answer.get_by_test_id("answer-status")).to_have_text("201 Created")

    await api.send_to_group(f"group of {user}", "notice", 1, persist=True)
    await api.send_to_group(f"group of {user}", "alert", 2, persist=True)

    await expect(stream.frames("alert")).to_have_count(1)
    await expect(stream.frames("notice")).to_have_count(0)
    await expect(demo.part("unread-parts")).to_contain_text(f"group group of {user} 1")
    await demo.part("unsubscribe").click()
    await expect(answer.get_by_test_id("answer-body")).to_contain_text('"unsubscribed": true')
    await demo.part("list-subscriptions").click()
    await expect(answer.get_by_test_id("answer-body")).to_contain_text('"subscriptions": []')


async def test_a_refused_question_is_explained(demo: DemoPage) -> None:
    demo.provoked = ["400"]
    await demo.part("inbox-user-id").fill("u" * 129)
    await demo.part("unread-refresh").click()
    await expect(demo.part("inbox-answer").get_by_test_id("answer-code")).to_have_text("invalid_user_id")
