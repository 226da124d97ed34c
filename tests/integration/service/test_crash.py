"""A crash at any point loses nothing and repeats nothing (SPEC §3.1–3.4, §3.8)."""

from __future__ import annotations

from random import Random

from tests.integration.service.storm import Storm
from tests.integration.service.storm_checks import check_storm
from tests.integration.service.write_paths import on_each_and_any_asgi_server
from tests.support.http import open_api
from tests.support.hub_databases import DURABLE
from tests.support.server_process import ServerProcess

CRASHES = 4


@on_each_and_any_asgi_server(DURABLE)
async def test_a_storm_over_crashes(server: ServerProcess, database_url: str) -> None:
    random = Random(20)
    storm = Storm([server.base_url])

    async def crash_again_and_again() -> None:
        for _ in range(CRASHES):
            await storm.uptime.more_answered(random.randint(50, 300))
            storm.uptime.up.clear()
            await server.kill9()
            await server.restart_on_same_port()
            storm.uptime.up.set()

    await storm.run(crash_again_and_again)
    async with open_api(server.base_url) as api:
        await check_storm(storm, database_url, api)
    assert any(message.tries > len(message.answers) for message in storm.sent), "no crash fell between send and answer"
    for reader in storm.readers:
        assert reader.connections > CRASHES
