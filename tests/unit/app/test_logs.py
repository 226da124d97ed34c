"""JSON logs: each record is one line, whatever is in it."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from sse_app.logs import JsonLines


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
