"""README's JavaScript, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.integration.browser.restarts import replace_database
from tests.support.http import open_api
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

README = Path(__file__).parents[3] / "README.md"


async def test_the_snippet_shows_what_comes_and_starts_over_after_a_reset(
    page: Page, mortal_server: ServerProcess, tmp_path: Path
) -> None:
    [snippet] = re.findall(r"^```js\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    await page.goto(f"{mortal_server.base_url}/health/live")
    await page.add_script_tag(content=snippet)
    async with open_api(mortal_server.base_url) as api, page.expect_console_message() as shown:
        await api.send("invoice.paid", {"amount": 12.50}, user_id="ada", persist=True)
    assert (await shown.value).text == "12.5"

    async with page.expect_event("framenavigated"):
        await replace_database(mortal_server, tmp_path)
