"""The two ways in which frames reach a reader: a connection that our server hands over, and ASGI's `send`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.server_process import SSE_HUB

ANY_ASGI_SERVER = (str(Path(__file__).with_name("any_asgi_server.py")),)

# For a test with the fixture `program`.
on_both_write_paths = pytest.mark.parametrize(
    "program", [SSE_HUB, ANY_ASGI_SERVER], ids=["own server", "any ASGI server"], indirect=True
)


def on_each_and_any_asgi_server(kinds: Iterable[str]) -> pytest.MarkDecorator:
    """Run a test once for each of these kinds of database, and once more on SQLite through ASGI's `send`."""
    cases = [pytest.param(kind, SSE_HUB, id=kind) for kind in kinds]
    cases.append(pytest.param("sqlite", ANY_ASGI_SERVER, id="sqlite, any ASGI server"))
    return pytest.mark.parametrize(("database_url", "program"), cases, indirect=True)
