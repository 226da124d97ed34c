"""SQL to a database server by a connection of its own: for what tests do to a server, past what they test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import URL, Row, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.support.patience import within

_ANSWER_SECONDS = 5.0


async def query(url: URL | str, statement: str, **parameters: object) -> Sequence[Row[Any]]:
    """The rows that this statement returns, if it returns any; it is committed by itself.

    `OSError` or `SQLAlchemyError` if the server can't be reached or refuses.
    """
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            result = await connection.execute(text(statement), parameters)
            return result.all() if result.returns_rows else []
    finally:
        await engine.dispose()


async def answers(url: URL | str, question: str = "SELECT 1") -> bool:
    """Whether a server lets this user in, soon, and answers the question with what is true."""
    try:
        async with within(_ANSWER_SECONDS):
            [(answer,)] = await query(url, question)
    except (OSError, SQLAlchemyError):
        return False
    return bool(answer)
