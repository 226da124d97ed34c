from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.clock import ManualClock
from tests.support.stores import STORES, Publisher, Store


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A new, empty store: the test runs once for each that there is."""
    async with STORES[request.param](tmp_path) as store:
        yield store


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def publish(store: Store, clock: ManualClock) -> Publisher:
    return Publisher(store, clock)
