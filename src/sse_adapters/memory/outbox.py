"""The outbox in memory: what is put in follows the caller's transaction, which may be on any database of theirs.

SQLAlchemy tells of a commit just before it happens, so a commit that the database then refuses counts as one here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from itertools import chain, islice
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event, select, true
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from sse_adapters.memory.message_log import MemoryMessageLog
from sse_domain.errors import EventIdConflict, InvalidInput
from sse_domain.log import Commit, Entry
from sse_domain.message import same_content
from sse_domain.ports import Outbox


class MemoryOutbox(Outbox):
    def __init__(self, log: MemoryMessageLog) -> None:
        self._log = log
        self._waiting: deque[Entry] = deque()
        # Connections are SQLAlchemy's own objects, made anew for each check-out of the pool, and so what listens on
        # one ends with it.
        self._transactions: WeakKeyDictionary[Connection, _Transaction] = WeakKeyDictionary()

    async def put(self, entry: Entry, transaction: object, committing: Callable[[], None]) -> None:
        connection = await _connection_of(transaction)
        earlier = (await self._log.find([entry.event_id])).get(entry.event_id)
        if earlier is not None:
            if same_content(entry.draft, earlier):
                return
            raise EventIdConflict(entry.event_id)
        await connection.execute(select(true()))  # a transaction is now under way, as if there had been a row to write
        assert connection.sync_connection is not None
        self._of(connection.sync_connection).put(entry, committing)

    async def waiting(self) -> bool:
        return bool(self._waiting)

    async def relay(self, limit: int, now: datetime) -> Commit:
        commit = await self._log.append(list(islice(self._waiting, limit)), now)
        for _ in commit.appended:
            self._waiting.popleft()
        return commit

    def _of(self, connection: Connection) -> _Transaction:
        if connection not in self._transactions:
            self._transactions[connection] = _Transaction(connection, self._waiting)
        return self._transactions[connection]


class _Transaction:
    """What was put in on one connection and is not committed yet: a list for each open savepoint, the innermost last.

    The first list is also for savepoints that were open before anything was put in. Nothing need be known of these:
    whichever is rolled back takes that list whole.
    """

    def __init__(self, connection: Connection, waiting: deque[Entry]) -> None:
        self._waiting = waiting
        self._begin()
        event.listen(connection, "commit", self._commit)
        event.listen(connection, "rollback", self._rollback)
        event.listen(connection, "savepoint", self._savepoint)
        event.listen(connection, "release_savepoint", self._release_savepoint)
        event.listen(connection, "rollback_savepoint", self._rollback_savepoint)

    def _begin(self) -> None:
        self._levels: list[list[Entry]] = [[]]
        self._committing: Callable[[], None] = _nothing

    def put(self, entry: Entry, committing: Callable[[], None]) -> None:
        self._levels[-1].append(entry)
        self._committing = committing

    def _commit(self, connection: Connection) -> None:
        self._waiting.extend(chain.from_iterable(self._levels))
        committing = self._committing
        self._begin()
        committing()

    def _rollback(self, connection: Connection) -> None:
        self._begin()

    def _savepoint(self, connection: Connection, name: str | None) -> None:
        self._levels.append([])

    def _release_savepoint(self, connection: Connection, name: str, context: None) -> None:
        released = self._leave_savepoint()
        self._levels[-1] += released

    def _rollback_savepoint(self, connection: Connection, name: str, context: None) -> None:
        self._leave_savepoint()

    def _leave_savepoint(self) -> list[Entry]:
        left = self._levels.pop()
        if not self._levels:
            self._levels.append([])
        return left


async def _connection_of(transaction: object) -> AsyncConnection:
    if isinstance(transaction, AsyncSession):
        return await transaction.connection()
    if isinstance(transaction, AsyncConnection):
        return transaction
    raise InvalidInput("transaction", "must be an AsyncSession or an AsyncConnection of SQLAlchemy")


def _nothing() -> None:
    """Nobody is to be told of a commit that has nothing of ours."""
