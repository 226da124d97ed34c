"""The one place where driver errors are translated."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from sse_domain.errors import SseError, StoreUnavailable

logger = logging.getLogger("sse_hub.store")


class UnusableDatabase(SseError):
    """The store can't start on this database; `detail` says in one line which and why."""

    code = "unusable_database"


class Undone(StoreUnavailable):
    """The transaction was undone whole, and may well succeed when it is tried again at once."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raises StoreUnavailable for whatever the driver or the connection pool reports.

    A violated unique index too: no caller can bring one about, except with a generated event_id that was drawn before,
    and the repetition that StoreUnavailable asks for settles that.
    """
    try:
        yield
    except Undone as error:
        logger.warning("the database undid a transaction: %s", _reason(error.__cause__))
        raise
    except PoolTimeout as error:
        raise StoreUnavailable("the database is too busy") from error
    except (DBAPIError, OSError, TimeoutError) as error:
        # Callers over HTTP learn no more than that; whoever runs the hub must learn the reason.
        logger.error("the database refused: %s", _reason(error))
        raise StoreUnavailable("the database did not answer") from error


@contextmanager
def translated_start_errors(url: URL) -> Iterator[None]:
    """Raises UnusableDatabase for whatever the driver reports."""
    try:
        yield
    except (DBAPIError, OSError, TimeoutError) as error:
        raise UnusableDatabase(f"{url.render_as_string()}: {_reason(error)}") from error


def _reason(error: BaseException | None) -> str:
    reason = error.orig if isinstance(error, DBAPIError) else error
    return str(reason) or type(reason).__name__
