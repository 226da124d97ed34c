"""`sse-hub migrate`: what it says of itself, and the two ways of asking for the wrong direction."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sse_adapters.sql.migrate import current, upgrade
from sse_app.cli import main


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of the database that the command is to work on."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}"
    monkeypatch.setenv("SSE_DATABASE_URL", url)
    return url


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--help"])
    assert end.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_help_says_which_databases_the_server_migrates_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("migrate",)):
        assert "(an SQLite file: `serve` does so too, to the newest)" in help_of(capsys, *arguments)
    assert "`serve` does not migrate PostgreSQL and MySQL" in help_of(capsys, "migrate")


@pytest.mark.parametrize(
    ("present", "asked", "reason"),
    [
        ("head", ["--revision", "0001"], "at revision 0003, already beyond 0001; going down takes --down"),
        ("0001", ["--revision", "base"], "at revision 0001, already beyond base; going down takes --down"),
        ("0001", ["--down", "--revision", "0002"], "at revision 0001, still below 0002; going up is without --down"),
        ("0002", ["--down", "--revision", "head"], "at revision 0002, still below head; going up is without --down"),
        (None, ["--down", "--revision", "0001"], "at revision base, still below 0001; going up is without --down"),
    ],
)
def test_the_wrong_direction_is_refused_and_changes_nothing(
    url: str, capsys: pytest.CaptureFixture[str], present: str | None, asked: list[str], reason: str
) -> None:
    if present is not None:
        asyncio.run(upgrade(url, present))
    before = asyncio.run(current(url))
    with pytest.raises(SystemExit) as end:
        main(["migrate", *asked])
    shown = capsys.readouterr()
    assert (end.value.code, shown.out) == (1, "")
    [line] = shown.err.splitlines()
    assert line.startswith("sse-hub: ")
    assert line.endswith(reason)
    assert asyncio.run(current(url)) == before


@pytest.mark.parametrize("asked", [["--revision", "0002"], ["--down", "--revision", "0002"]])
def test_where_the_database_is_already_nothing_happens(
    url: str, capsys: pytest.CaptureFixture[str], asked: list[str]
) -> None:
    asyncio.run(upgrade(url, "0002"))
    main(["migrate", *asked])
    assert capsys.readouterr().out.endswith("is at revision 0002\n")
