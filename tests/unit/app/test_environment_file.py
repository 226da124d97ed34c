"""Settings from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from sse_app.environment_file import read_environment_file
from sse_app.settings import SettingsError

FILE = """
# Where messages are kept
SSE_DATABASE_URL=sqlite+aiosqlite:///a=b.db
 export SSE_LOG_FORMAT = json
SSE_CORS_ORIGINS="https://a.example, https://b.example"
SSE_REDIS_URL='redis://:p#w"@localhost'
SSE_HOST="
SSE_PATH_PREFIX=

"""


def test_each_line_is_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "hub.env"
    file.write_text(FILE, "utf-8")
    assert read_environment_file(file) == {
        "SSE_DATABASE_URL": "sqlite+aiosqlite:///a=b.db",
        "SSE_LOG_FORMAT": "json",
        "SSE_CORS_ORIGINS": "https://a.example, https://b.example",
        "SSE_REDIS_URL": 'redis://:p#w"@localhost',
        "SSE_HOST": '"',
        "SSE_PATH_PREFIX": "",
    }


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"SSE_PORT=1\ns3cret\n", ", line 2: must be NAME=VALUE"),
        (b"=s3cret", ", line 1: must be NAME=VALUE"),
        (b"SSE_HOST=\xff", ": not a text file"),
        (None, ": No such file or directory"),
    ],
)
def test_a_file_that_is_none_of_variables_is_refused_and_not_shown(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    file = tmp_path / "hub.env"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        read_environment_file(file)
    assert str(raised.value) == f"{file}{complaint}"
