"""The outbox, on a SQL database: rows that the application's transactions insert and one of the hub's own moves.

A row that is in sight is committed. Rows come into sight in the order of commits, not of their ids; nothing remembers
how far the relay has come, it just takes what is there, so no row is passed over however late it is committed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, bindparam, delete, event, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from sse_adapters.sql.appending import append_entries
from sse_adapters.sql.connections import Connections, tried_again
from sse_adapters.sql.lists import in_list, listed
from sse_adapters.sql.rows import MESSAGE_COLUMNS, from_entry, to_entry, to_head, to_message
from sse_adapters.sql.schema import log, message, outbox
from sse_domain.errors import EventIdConflict, InvalidInput
from sse_domain.log import Commit, Entry
from sse_domain.message import same_content
from sse_domain.ports import Outbox

# On the caller's connection: of whatever engine, so nothing but the plainest SQL.
_SENT_UNDER = select(*MESSAGE_COLUMNS).where(message.c.event_id == bindparam("event_id"))
_PUT = insert(outbox)

_WAITING = select(outbox.c.id).order_by(outbox.c.id).limit(1)
_LOCK_LOG = select(log).with_for_update()
_NEXT = select(outbox).order_by(outbox.c.id).limit(bindparam("limit"))
_REMOVE = delete(outbox).where(in_list(outbox.c.id, "ids"))


class SqlOutbox(Outbox):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        # Connections are SQLAlchemy's own objects, made anew for each check-out of the pool, and so what listens on
        # one ends with it.
        self._listened_to: WeakKeyDictionary[Connection, Callable[[], None]] = WeakKeyDictionary()

    async def put(self, entry: Entry, transaction: object, committing: Callable[[], None]) -> None:
        connection = await _connection_of(transaction)
        if entry.may_repeat:
            earlier = (await connection.execute(_SENT_UNDER, {"event_id": entry.event_id})).first()
            if earlier is not None:
                if same_content(entry.draft, to_message(earlier)):
                    return
                raise EventIdConflict(entry.event_id)
        await connection.execute(_PUT, from_entry(entry))
        self._listen(connection.sync_connection, committing)

    @tried_again
    async def waiting(self) -> bool:
        async with self._connections.reading() as connection:
            return (await connection.execute(_WAITING)).first() is not None

    @tried_again
    async def relay(self, limit: int, now: datetime) -> Commit:
        async with self._connections.writing(append=True) as connection:
            # The rows are read under the log's lock: of two nodes that relay, the second sees what the first has left.
            head = to_head((await connection.execute(_LOCK_LOG)).one())
            rows = (await connection.execute(_NEXT, {"limit": limit})).mappings().all()
            if not rows:
                return Commit([], head)
            commit = await append_entries(connection, [to_entry(row) for row in rows], now)
            await connection.execute(_REMOVE, {"ids": listed([row["id"] for row in rows])})
        return commit

    def _listen(self, connection: Connection | None, committing: Callable[[], None]) -> None:
        assert connection is not None  # it has just executed
        if connection not in self._listened_to:
            event.listen(connection, "commit", self._before_commit)
        self._listened_to[connection] = committing

    def _before_commit(self, connection: Connection) -> None:
        self._listened_to[connection]()
        self._listened_to[connection] = _nothing  # until something is put in again


async def _connection_of(transaction: object) -> AsyncConnection:
    if isinstance(transaction, AsyncSession):
        return await transaction.connection(bind_arguments={"clause": _PUT})
    if isinstance(transaction, AsyncConnection):
        return transaction
    raise InvalidInput("transaction", "must be an AsyncSession or an AsyncConnection of SQLAlchemy")


def _nothing() -> None:
    """Nobody is to be told of a commit that has nothing of ours."""
