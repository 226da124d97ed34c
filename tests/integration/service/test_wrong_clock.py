"""A node whose machine has a wrong clock does as the others do (SPEC §3.7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from dependency_injector import providers

from sse_adapters.sql.migrate import upgrade
from sse_app import Settings, open_hub
from sse_app.clock import SystemClock
from sse_app.container import build_container
from tests.support.databases import KINDS, Kind, fresh_database


class WrongClock(SystemClock):
    def machine_time(self) -> datetime:
        return super().machine_time() + timedelta(hours=1)


@pytest.mark.parametrize("kind", KINDS)
async def test_nodes_agree_on_what_has_expired(kind: Kind) -> None:
    async with fresh_database(kind) as url:
        await upgrade(url)
        settings = Settings(database_url=url)
        container = build_container(settings)
        container.clock.override(providers.Singleton(WrongClock))
        async with open_hub(settings) as right, container.node() as wrong:
            await right.send_to_user("ada", "a", 1, persist=True, ttl=600)
            assert (await wrong.unread("ada")).total == 1, "it does not take it for expired"
            receipt = await wrong.send_to_user("ada", "b", 2, persist=True, ttl=600)
            assert receipt.expire_at is not None
            assert abs(receipt.expire_at - datetime.now(UTC) - timedelta(seconds=600)) < timedelta(seconds=30)
            assert (await right.unread("ada")).total == 2
