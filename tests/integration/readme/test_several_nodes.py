"""README.md on several nodes: its commands, with a Redis of the test's own."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from tests.integration.readme.blocks import block
from tests.integration.readme.program import run_program
from tests.support.http import open_api
from tests.support.redis_server import redis_prefix, redis_url

LISTENING = r"listening on (http://[0-9.]+:\d+)"


async def test_what_it_says_to_run_is_one_hub_of_four_workers(tmp_path: Path) -> None:
    script = re.sub('"redis://.*?"', f'"{redis_url()}"', block("several workers"))
    script = script.replace("sse-hub", f"{sys.executable} -m sse_app.cli")
    async with redis_prefix() as prefix:
        environment = {"SSE_PORT": "0", "SSE_REDIS_PREFIX": prefix}
        async with run_program("sh", "-ec", script, directory=tmp_path, environment=environment) as program:
            base_url = (await program.until(LISTENING))[1]
            async with open_api(base_url) as api, asyncio.timeout(30):
                while len((await api.get("/info")).json()["nodes"]) < 4:  # noqa: ASYNC110  (other processes)
                    await asyncio.sleep(0.01)
