"""One browser and one server for all of these tests; each test has its own user and its own browser context."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.integration.browser.demo_page import DemoPage
from tests.integration.browser.native_stream import NativeStream
from tests.integration.browser.restarts import database_url
from tests.support.http import HubApi, open_api
from tests.support.missing import missing
from tests.support.server_process import ServerProcess, run_server

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 60_000  # a restarted server spreads its readers' return over five seconds
LAUNCH_MS = 120_000
RETRY_SETTINGS = {"SSE_RETRY_MS": "50", "SSE_DRAIN_SECONDS": "0"}


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's program. Without it the tests skip; in CI, where it was to be installed, they fail."""
    if not CHROMIUM.exists():
        missing(f"no browser at {CHROMIUM}: scripts/install-test-tools installs it")
    return CHROMIUM


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    expect.set_options(timeout=WAIT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS, timeout=LAUNCH_MS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Shared, so not to be stopped. It depends on the browser, so as not to be started where there is none."""
    settings = RETRY_SETTINGS | {"SSE_DATABASE_URL": "memory://"}
    async with run_server(tmp_path_factory.mktemp("shared"), settings) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def mortal_server(browser: Browser, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """One test's own server, to be stopped by it; it keeps its messages in `hub.db` of the test's directory."""
    settings = RETRY_SETTINGS | {"SSE_DATABASE_URL": database_url(tmp_path)}
    async with run_server(tmp_path, settings) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def api(server: ServerProcess) -> AsyncIterator[HubApi]:
    async with open_api(server.base_url) as api:
        yield api


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user of this test's own: the server is shared."""
    name: str = request.node.name
    return name


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """An empty page in a context, that is a profile, of its own."""
    context = await browser.new_context()
    context.set_default_timeout(WAIT_MS)
    yield await context.new_page()
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def native(page: Page, server: ServerProcess) -> NativeStream:
    """A page of the shared server that has nothing on it yet but a place to keep events in."""
    return await NativeStream.on_page_of(page, server.base_url)


@pytest_asyncio.fixture(loop_scope="session")
async def demo(page: Page, server: ServerProcess, user: str) -> AsyncIterator[DemoPage]:
    """The test page, with this test's user filled in. The browser must have nothing to complain of at the end."""
    demo = await DemoPage.load(page, server.base_url)
    await demo.use(user)
    yield demo
    assert demo.unexpected_complaints() == []
