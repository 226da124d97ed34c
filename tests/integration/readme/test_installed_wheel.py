"""The wheel, installed where there is no checkout, is whole: it migrates, serves, and has its pages."""

from __future__ import annotations

import sys
import sysconfig
import venv
from pathlib import Path

import httpx
import pytest

from tests.integration.readme.blocks import ROOT
from tests.integration.readme.program import run_program

PAGES = ("/demo", "/demo/demo.js", "/demo/demo.css", "/schema", "/schema/swagger-ui-bundle.js")


async def run(*command: str, directory: Path) -> str:
    async with run_program(*command, directory=directory) as program:
        assert await program.end() == 0, program.output
    return program.output


@pytest.fixture
async def scripts(tmp_path: Path) -> Path:
    """Where the commands of an environment are that has the wheel, and of the checkout's only the dependencies.

    They come in as one more place to look for packages. Such a place has no say in what else is looked at, so the
    checkout, which is an entry of its own in the place it comes from, stays out.
    """
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    unnetworked = ("--no-index", "--no-deps")
    wheels, home = tmp_path / "wheels", tmp_path / "environment"
    await run(*pip, "wheel", *unnetworked, "--no-build-isolation", "-w", str(wheels), str(ROOT), directory=tmp_path)
    [wheel] = wheels.iterdir()

    venv.create(home, symlinks=True)
    places = {"base": str(home), "platbase": str(home)}
    bin_directory = Path(sysconfig.get_path("scripts", "venv", places))
    packages = Path(sysconfig.get_path("purelib", "venv", places))
    python = str(bin_directory / "python")
    await run(*pip, "--python", python, "install", *unnetworked, str(wheel), directory=tmp_path)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    where = await run(python, "-c", "import sse_app; print(sse_app.__file__)", directory=tmp_path)
    assert Path(where.strip()).is_relative_to(packages)
    return bin_directory


async def test_the_installed_command_migrates_and_serves_with_all_its_pages(scripts: Path, tmp_path: Path) -> None:
    command = str(scripts / "sse-hub")
    assert "is at revision 0" in await run(command, "migrate", directory=tmp_path)
    async with run_program(command, "serve", "--port", "0", directory=tmp_path) as server:
        url = (await server.until(r"listening on (http://\S+)"))[1]
        async with httpx.AsyncClient(base_url=url, headers={"Accept": "text/html"}, trust_env=False) as client:
            statuses = {page: (await client.get(page)).status_code for page in PAGES}
        assert statuses == dict.fromkeys(PAGES, 200)
        assert await server.terminate() == 0
    assert (tmp_path / "sse-hub.db").exists()
