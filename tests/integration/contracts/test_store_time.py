"""A store that nodes on several machines may share has a clock for all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sse_adapters.memory import MemoryStore
from sse_adapters.sql import SqlStore
from tests.support.stores import Store


@pytest.mark.parametrize("store", ["postgresql", "mysql"], indirect=True)
async def test_a_server_tells_its_time(store: Store) -> None:
    assert isinstance(store, SqlStore)
    before = datetime.now(UTC)
    [first, second] = [await store.time.now(), await store.time.now()]
    assert first is not None
    assert second is not None
    assert first.utcoffset() == timedelta(0)
    # Servers that tests use are on this machine.
    assert before - timedelta(milliseconds=1) <= first < second <= datetime.now(UTC) + timedelta(milliseconds=1)


@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
async def test_what_is_on_this_machine_has_none_of_its_own(store: Store) -> None:
    assert isinstance(store, MemoryStore | SqlStore)
    assert await store.time.now() is None
