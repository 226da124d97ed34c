"""The test page as a person uses it: what can be done on it, and what the browser complains of meanwhile."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from playwright.async_api import ConsoleMessage, Locator, Page, Request, Response, expect

StreamState = Literal["connecting", "open", "closed"]


class StreamCard:
    """One stream's card on the page."""

    def __init__(self, card: Locator) -> None:
        self.card = card

    def part(self, name: str) -> Locator:
        """A part of the card, such as its `notice` or one of its facts."""
        return self.card.get_by_test_id(f"stream-{name}")

    def frames(self, event_type: str) -> Locator:
        """The frames of this type in the card's log."""
        return self.card.locator(f'[data-testid="frame"][data-event-type="{event_type}"]')

    async def toggle(self) -> None:
        """Cut the stream, or resume it when it is cut."""
        await self.part("toggle").click()

    async def send_numbered(self) -> None:
        """Send twenty numbered messages of mixed priorities, and wait until the page has its answer."""
        async with self.card.page.expect_request_finished(lambda request: request.url.endswith("/send/batch")):
            await self.part("send-numbered").click()
        await expect(self.part("send-numbered")).to_be_enabled()

    async def until_state(self, state: StreamState) -> None:
        await expect(self.card).to_have_attribute("data-state", state)

    async def until_shown(self, part: str, text: str | re.Pattern[str]) -> None:
        """Wait until a part says exactly this, or something that matches this pattern."""
        await expect(self.part(part)).to_have_text(text)

    async def until_verdict(self, text: str) -> None:
        """Wait until the card sums up its numbered messages so."""
        await self.until_shown("continuity", text)


class DemoPage:
    """The page at /demo of a server.

    `provoked` takes what a test means the browser to complain of, such as a status; `unexpected_complaints` is the
    rest: console errors (broken content policies among them), exceptions, and requests that failed, were refused or
    went anywhere but to this server.
    """

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self.provoked: list[str] = []
        self._base_url = base_url
        self._complaints: list[str] = []
        self._opened = 0
        page.on("console", self._told)
        page.on("pageerror", lambda error: self._complaints.append(f"exception: {error}"))
        page.on("request", self._requested)
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    @classmethod
    async def load(cls, page: Page, base_url: str) -> DemoPage:
        demo = cls(page, base_url)
        await page.goto(f"{base_url}/demo")
        await expect(demo.part("open-url")).not_to_be_empty()  # its script runs
        return demo

    def part(self, name: str) -> Locator:
        """What carries this test id."""
        return self.page.get_by_test_id(name)

    async def use(self, user: str) -> None:
        """Fill this user in wherever the page asks for one."""
        for name in ("open-user-id", "send-user-id", "inbox-user-id"):
            await self.part(name).fill(user)

    async def open_stream(self, state: StreamState = "open") -> StreamCard:
        """Open the stream that the form describes; wait for this state, and when open for `sse.open`."""
        await self.part("open-submit").click()
        self._opened += 1
        stream = StreamCard(self.page.locator(f'[data-stream="{self._opened}"]'))
        await stream.until_state(state)
        if state == "open":
            await expect(stream.frames("sse.open")).to_have_count(1)
        return stream

    async def send(self, **fields: str) -> None:
        """Fill in fields of the sending form, by the ends of their test ids, and send; wait for the answer."""
        for name, value in fields.items():
            await self.part(f"send-{name.replace('_', '-')}").fill(value)
        async with self.page.expect_response(re.compile(r"/(send|broadcast)")):
            await self.part("send-submit").click()

    async def fits_its_width(self) -> bool:
        """Whether nothing makes the page scroll sideways."""
        fits: bool = await self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        return fits

    def unexpected_complaints(self) -> list[str]:
        """What the browser complained of so far and the test did not provoke."""
        return [
            complaint for complaint in self._complaints if not any(provoked in complaint for provoked in self.provoked)
        ]

    def _told(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._complaints.append(f"console: {message.text}")

    def _requested(self, request: Request) -> None:
        # data: URLs name no host; they hold all that they need.
        if urlsplit(request.url).netloc not in ("", urlsplit(self._base_url).netloc):
            self._complaints.append(f"elsewhere: {request.url}")

    def _failed(self, request: Request) -> None:
        was_cut_by_page = request.failure == "net::ERR_ABORTED" and "/stream" in request.url
        if not was_cut_by_page:
            self._complaints.append(f"failed: {request.url} {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self._complaints.append(f"refused: {response.status} {response.url}")
