"""Logs: of JSON each record is one line, whatever is in it; those of one of several workers say of which."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sse_app.logs import JsonLines, configure_logging


def formatted(message: str, *arguments: object, **attributes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": "sse_hub.test", "levelno": logging.WARNING, "levelname": "WARNING"}
    record = logging.makeLogRecord({**fields, "msg": message, "args": arguments, "created": 0.5} | attributes)
    line = JsonLines().format(record)
    assert "\n" not in line
    decoded: dict[str, Any] = json.loads(line)
    return decoded


def test_a_record_becomes_an_object_with_what_was_passed_as_extra() -> None:
    assert formatted("%d streams of\n%s", 3, "Zoë", client_id="phone") == {
        "time": "1970-01-01T00:00:00.500000+00:00",
        "level": "warning",
        "logger": "sse_hub.test",
        "message": "3 streams of\nZoë",
        "client_id": "phone",
    }


def test_an_error_comes_with_its_traceback() -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        line = formatted("failed", exc_info=sys.exc_info())
    assert line["error"].startswith("Traceback")
    assert line["error"].endswith("RuntimeError: broken")


def test_what_json_has_no_word_for_is_written_as_text() -> None:
    assert formatted("odd", reason=RuntimeError("broken"))["reason"] == "broken"


@pytest.mark.usefixtures("_logging_as_before")
def test_a_connection_that_a_pool_lost_takes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("text", "INFO")
    for name in ("sqlalchemy.pool.impl.AsyncAdaptedQueuePool", "sse_hub.feed"):
        try:
            raise RuntimeError("gone")
        except RuntimeError:
            logging.getLogger(name).exception("terminating %r", "it")
    pool, own, *traceback = capsys.readouterr().err.splitlines()
    assert pool.endswith("AsyncAdaptedQueuePool: terminating 'it': gone")
    assert own.endswith("sse_hub.feed: terminating 'it'")
    assert traceback[0].startswith("Traceback")


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("sse_hub")
    handlers, levels = root.handlers[:], (root.level, own.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


@pytest.mark.usefixtures("_logging_as_before")
def test_a_line_of_one_of_several_workers_says_of_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    written = []
    for log_format in ("text", "json"):
        for worker in (None, 12):
            configure_logging(log_format, "info", worker)
            logging.getLogger("sse_hub.test").info("here")
            written.append(capsys.readouterr().err)
    text, tagged, lines, tagged_lines = written
    assert text.endswith(" INFO    sse_hub.test: here\n")
    assert tagged.endswith(" INFO    [12] sse_hub.test: here\n")
    assert "worker" not in json.loads(lines)
    assert json.loads(tagged_lines)["worker"] == 12
