"""The browser's own EventSource, driven from a test; nothing of ours stands between it and the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from playwright.async_api import Page

from tests.support.http import API_PREFIX

CONTROL_TYPES = ("sse.open", "sse.reset", "sse.unread", "sse.close")

# Control events come as MessageEvent too; EventSource's own "open" and "error" do not.
OPEN = """([url, types]) => {
  window.received = [];
  window.source = new EventSource(url);
  for (const type of types) {
    source.addEventListener(type, (event) =>
      received.push([event.type, JSON.parse(event.data), event.lastEventId]));
  }
}"""


class Received(NamedTuple):
    """One event as the browser handed it over."""

    event_type: str
    data: Any
    last_event_id: str


class NativeStream:
    """One EventSource on a page that the server serves without a content policy, so that a test may script it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @classmethod
    async def on_page_of(cls, page: Page, base_url: str) -> NativeStream:
        """Load such a page; no stream is open yet."""
        await page.goto(f"{base_url}/health/live")
        return cls(page)

    async def open(self, query: str, types: Sequence[str]) -> None:
        """Open a stream, hear these types and the control events, and wait until the hub says that it is open."""
        url = f"{API_PREFIX}/stream?{query}"
        await self.page.evaluate(OPEN, [url, [*CONTROL_TYPES, *types]])
        await self.until("sse.open")

    async def received(self, event_type: str) -> list[Received]:
        """All events of this type so far, in the order in which they came."""
        events = await self.page.evaluate("received")
        return [Received(*event) for event in events if event[0] == event_type]

    async def until(self, event_type: str, count: int = 1) -> list[Received]:
        """Wait until at least `count` events of this type have come, over all reconnects."""
        await self.page.wait_for_function(
            "([type, count]) => received.filter((event) => event[0] === type).length >= count", arg=[event_type, count]
        )
        return await self.received(event_type)

    async def until_lost(self) -> None:
        """Wait until the browser has noticed that its connection is gone, and means to try again."""
        await self.page.wait_for_function("source.readyState === EventSource.CONNECTING")

    async def until_given_up(self) -> None:
        """Wait until the browser has stopped for good."""
        await self.page.wait_for_function("source.readyState === EventSource.CLOSED")
