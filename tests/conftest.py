"""What holds for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import databases, redis_server


@pytest.fixture(scope="session", autouse=True)
def _servers_end_with_the_run() -> Iterator[None]:
    """Set up before anything else of the session and so taken down after it, whatever has become of the tests."""
    yield
    databases.end()
    redis_server.end()
