"""README.md on database servers: its commands, with a URL of the test's own."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.integration.readme.blocks import block
from tests.integration.readme.program import run_program
from tests.support.databases import KINDS, Kind, fresh_database
from tests.support.event_stream import open_stream
from tests.support.http import open_api

LISTENING = r"listening on (http://[0-9.]+:\d+)"


@pytest.mark.parametrize("kind", KINDS)
async def test_what_it_says_to_run_serves_from_there(kind: Kind, tmp_path: Path) -> None:
    script = block("on a database server")
    async with fresh_database(kind) as url:
        script = re.sub('"postgresql.*?"', f'"{url}"', script).replace("sse-hub", f"{sys.executable} -m sse_app.cli")
        async with run_program("sh", "-ec", script, directory=tmp_path, environment={"SSE_PORT": "0"}) as program:
            base_url = (await program.until(LISTENING))[1]
            assert "is at revision" in program.output
            async with open_api(base_url) as api:
                await api.send("note", "kept", persist=True, user_id="ada")
                info = (await api.get("/info")).json()
                assert info["storage"]["kind"] == url.partition("+")[0]
            async with open_stream(base_url, params={"user_id": "ada"}) as stream:
                assert [(await stream.next()).event for _ in range(2)] == ["sse.open", "note"]
    assert not (tmp_path / "sse-hub.db").exists()
