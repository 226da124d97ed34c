"""A real server, with a database of its own, and its API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.http import HubApi, open_api
from tests.support.hub_databases import hub_database
from tests.support.server_process import SSE_HUB, ServerProcess, run_server


@pytest.fixture
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A new database for a hub: in a file, or what a test asks for by `on_each` of the kinds that there are."""
    async with hub_database(getattr(request, "param", "sqlite"), tmp_path) as url:
        yield url


@pytest.fixture
def program(request: pytest.FixtureRequest) -> Sequence[str]:
    """What is run as the server: sse-hub, or what a test asks for (`write_paths`)."""
    program: Sequence[str] = getattr(request, "param", SSE_HUB)
    return program


@pytest.fixture
async def server(database_url: str, tmp_path: Path, program: Sequence[str]) -> AsyncIterator[ServerProcess]:
    """A server with an empty log. Heartbeats come fast enough for a test to wait for them."""
    settings = {"SSE_DATABASE_URL": database_url, "SSE_HEARTBEAT_SECONDS": "0.2", "SSE_DRAIN_SECONDS": "0.3"}
    async with run_server(tmp_path, settings, program=program) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One server for tests that keep to users, clients and groups of their own and broadcast nothing."""
    async with run_server(tmp_path_factory.mktemp("shared"), {"SSE_HEARTBEAT_SECONDS": "0.2"}) as server:
        yield server


@pytest.fixture
async def api(server: ServerProcess) -> AsyncIterator[HubApi]:
    async with open_api(server.base_url) as api:
        yield api
