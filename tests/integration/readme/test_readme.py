"""README.md is true: its commands and programs do what it shows, and its lists are complete."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import indent
from typing import Any

import httpx
import pytest
from sqlalchemy import Integer, String, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, mapped_column

from sse_app import Settings, open_hub
from tests.integration.readme.blocks import BLOCKS, README, ROOT, block, fenced, named
from tests.integration.readme.program import installed, run_program
from tests.integration.readme.settings_table import with_settings
from tests.support.event_stream import open_stream
from tests.support.http import API_PREFIX
from tests.support.server_process import ServerProcess, run_server

ADDRESS = "http://127.0.0.1:8000"
SHOWN_EPOCH = "k3v90x2m"

TEXT = README.read_text("utf-8")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    async with run_server(tmp_path) as server:
        yield server


def test_every_block_is_known_to_a_test() -> None:
    assert sorted(str(named(block)) for block in fenced(TEXT)) == sorted(BLOCKS)


def test_the_list_of_settings_is_what_make_readme_writes() -> None:
    assert with_settings(TEXT) == TEXT


def test_a_readme_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="once"):
        with_settings(TEXT.replace("<!-- settings -->", ""))


def test_the_table_of_calls_has_exactly_those_of_the_api(server: ServerProcess) -> None:
    document = httpx.get(f"{server.base_url}/schema/openapi.json", timeout=60, trust_env=False).json()
    section = TEXT.partition("## HTTP API")[2].partition("\n## ")[0]
    first_cells = "".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))
    listed = re.findall(r"(/[a-z][a-z/{}_]*)[?`]", first_cells)
    assert sorted(listed) == sorted(path.removeprefix(API_PREFIX) for path in document["paths"])


@pytest.mark.parametrize("url", sorted(set(re.findall(rf"<{ADDRESS}(/\S*)>", TEXT))))
def test_a_page_that_is_pointed_to_is_there(server: ServerProcess, url: str) -> None:
    page = httpx.get(server.base_url + url, headers={"Accept": "text/html"}, timeout=60, trust_env=False)
    assert page.status_code == httpx.codes.OK
    assert page.text.startswith("<!doctype html>")


@pytest.mark.parametrize("target", re.findall(r"(?:\]\()(?!https?:)([^)#]+)\)", TEXT))
def test_what_is_linked_to_is_there(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "bench/README.md"])
def test_make_knows_every_target_that_is_mentioned(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    targets = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))
    assert targets
    subprocess.run([installed("make"), "--dry-run", *targets], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"\b(?:[a-z_]+/)*[a-z_]+\.py\b", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))))
)
def test_the_modules_of_the_house_are_where_contributing_says(path: str) -> None:
    candidates = (ROOT / path, *(ROOT / "src").glob(f"**/{path}"))
    assert any(candidate.is_file() for candidate in candidates)


async def test_the_first_steps_in_a_shell(server: ServerProcess, tmp_path: Path) -> None:
    def shell(name: str) -> tuple[str, ...]:
        return ("sh", "-c", "exec " + block(name).replace(ADDRESS, server.base_url))

    installed("curl")
    shown = re.escape(block("what the stream shows")).replace(SHOWN_EPOCH, "([0-9a-z]{8})")
    async with run_program(*shell("open a stream"), directory=tmp_path, errors=False) as stream:
        await stream.until("event: sse.open")
        async with run_program(*shell("send"), directory=tmp_path, errors=False) as sending:
            assert await sending.end() == 0
        assert json.loads(sending.output)["seq"] == 1
        [epoch] = (await stream.until(f"(?m)^{shown}")).groups()
    async with run_program(*shell("send"), directory=tmp_path, errors=False) as sending:
        assert await sending.end() == 0

    *command, resume = shell("resume")
    async with run_program(*command, resume.replace(SHOWN_EPOCH, epoch), directory=tmp_path, errors=False) as stream:
        await stream.until(f"id: 2-{epoch}\nevent: invoice.paid\ndata: ")
    assert '"resumed":true' in stream.output
    assert stream.output.count("event: invoice.paid") == 1


async def test_the_program_of_ones_own_prints_what_is_shown(tmp_path: Path) -> None:
    async with run_program(sys.executable, "-c", block("in-process"), directory=tmp_path) as program:
        assert await program.end() == 0
    assert program.output == block("what in-process prints")


async def test_what_a_transaction_sends_is_given_to_its_user(tmp_path: Path) -> None:
    class Base(DeclarativeBase):
        pass

    class Order(Base):
        __tablename__ = "orders"
        id = mapped_column(Integer, primary_key=True)
        user_id = mapped_column(String)
        amount = mapped_column(Integer)

    url = f"sqlite+aiosqlite:///{tmp_path / 'app.db'}"
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    names: dict[str, Any] = {"AsyncSession": AsyncSession, "Order": Order, "engine": engine}
    exec(f"async def run(hub):\n{indent(block('in a transaction'), '    ')}", names)  # noqa: S102 - README's own
    async with open_hub(Settings(database_url=url)) as hub, hub.listen(user_id="ada") as stream:
        await names["run"](hub)
        event = await anext(stream)
    assert (event.event_type, event.data) == ("order.placed", {"amount": 12})
    async with AsyncSession(engine) as session:
        assert (await session.scalars(select(Order.amount))).all() == [12]
    await engine.dispose()


async def test_the_outbox_example_tells_of_the_orders_that_are_placed(tmp_path: Path) -> None:
    example = ROOT / "examples" / "outbox.py"
    for first in (1, 3):
        async with run_program(sys.executable, str(example), directory=tmp_path) as program:
            assert await program.end() == 0
        assert program.output.splitlines() == [
            f"placed {{'order': {first}, 'amount': 12}}",
            "refused: an order costs something",
            f"placed {{'order': {first + 1}, 'amount': 30}}",
        ]


@pytest.mark.parametrize(
    "options", [("--timeout-graceful-shutdown", "1"), ("--http", "sse_app.http_protocol:TransportProtocol")]
)
async def test_the_litestar_application_serves_streams_that_outlive_it(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "app.py").write_text(block("in Litestar"))
    assert " ".join(options).replace(" 1", " 5") in TEXT
    uvicorn = (sys.executable, "-m", "uvicorn", "app:app", "--port", "0", *options)
    last_event_id = None
    for seq in (1, 2):
        async with run_program(*uvicorn, directory=tmp_path) as program:
            url = (await program.until(r"running on (http://\S+)"))[1]
            async with (
                httpx.AsyncClient(timeout=60, trust_env=False) as client,
                open_stream(url, params={"user_id": "ada"}, last_event_id=last_event_id) as stream,
            ):
                assert (await stream.next()).event == "sse.open"
                order = await client.post(f"{url}/orders/ada")
                assert order.json() == {"seq": seq}
                event = await stream.next()
                assert (event.event, event.json) == ("order.placed", {"items": 3})
                last_event_id = event.last_event_id
                assert last_event_id.startswith(f"{seq}-")
                await program.terminate()
                if "--http" in options:
                    assert (await stream.next()).event == "sse.close"
            assert "Application shutdown complete" in program.output
