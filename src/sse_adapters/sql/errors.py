"""What goes wrong with a database, in the hub's own terms: the one place where driver errors are translated."""

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


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raises StoreUnavailable for whatever the driver or the connection pool reports.

    A violated unique index too: no caller can bring one about, except with a generated event_id that was drawn before,
    and the repetition that StoreUnavailable asks for settles that.
    """
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable("the database is too busy") from error
    except DBAPIError as error:
        # Callers over HTTP learn no more than that; whoever runs the hub must learn the reason.
        logger.error("the database refused: %s", error.orig)
        raise StoreUnavailable("the database did not answer") from error


@contextmanager
def translated_start_errors(url: URL) -> Iterator[None]:
    """Raises UnusableDatabase for whatever the driver reports."""
    try:
        yield
    except DBAPIError as error:
        raise UnusableDatabase(f"{url.render_as_string()}: {error.orig}") from error
