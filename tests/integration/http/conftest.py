"""A hub, served over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sse_adapters.http.app import http_app
from sse_app import HubService, Settings, open_hub
from tests.integration.http.serving import serve
from tests.support.http import HubApi, open_api


@pytest.fixture
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HubService]:
    """In memory, unless a test asks for another store as the fixture's parameter."""
    url = (
        "memory://" if getattr(request, "param", "memory") == "memory" else f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}"
    )
    async with open_hub(Settings(database_url=url)) as hub:
        yield hub


@pytest.fixture
async def base_url(hub: HubService) -> AsyncIterator[str]:
    async with serve(http_app(hub)) as url:
        yield url


@pytest.fixture
async def api(base_url: str) -> AsyncIterator[HubApi]:
    async with open_api(base_url) as api:
        yield api
