"""Logging: one line an event, for people by default, JSON by setting. Never a query string, never a message's data."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonLines(logging.Formatter):
    """A record as one JSON object: time, level, logger, message, what was passed as `extra`, and an error's text.

    `fields` stand in every line."""

    def __init__(self, fields: Mapping[str, object] | None = None) -> None:
        super().__init__()
        self._fields = dict(fields or {})

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._fields,
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def without_traceback_of_pools(record: logging.LogRecord) -> bool:
    """A lost connection that a pool throws away takes one line: the store has told what was lost, and in an outage a
    traceback for each would bury that. For `addFilter`: every record passes."""
    if record.name.startswith("sqlalchemy.pool") and record.exc_info:
        record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]}", ()
        record.exc_info = None
    return True


def configure_logging(log_format: str, level: str, worker: int | None = None) -> None:
    """Send all logs to standard error, the hub's own from `level` on; those of one worker of several with its number.

    Libraries get to tell their warnings alone: below that they log statements with their parameters, and URLs.
    """
    output = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        output.setFormatter(JsonLines({} if worker is None else {"worker": worker}))
    else:
        tag = "" if worker is None else f"[{worker}] "
        output.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)-7s {tag}%(name)s: %(message)s"))
    output.addFilter(without_traceback_of_pools)
    least = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(handlers=[output], level=max(least, logging.WARNING), force=True)
    logging.getLogger("sse_hub").setLevel(least)
