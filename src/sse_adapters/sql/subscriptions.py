"""Durable group memberships, on a SQL database. A membership that was left stays as a row that is off.

A change begins like an append, by raising the log's one row, here its `memberships`. So it waits for every append and
every other change that is under way, and none can come between what it reads and what it writes. What turns out to
change nothing gives its version back before the commit.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.connections import Connections, tried_again
from sse_adapters.sql.lists import in_list, listed
from sse_adapters.sql.rows import from_subscription, to_head, to_membership, to_subscription
from sse_adapters.sql.schema import log, read_floor, subscription
from sse_domain.ports import Subscriptions
from sse_domain.replay import LogHead
from sse_domain.subscription import Joined, Membership, Subscription

_TAKE_VERSION = update(log).values(memberships=log.c.memberships + 1)
_GIVE_VERSION_BACK = update(log).values(memberships=log.c.memberships - 1)
_THIS_ONE = (subscription.c.user_id == bindparam("user")) & (subscription.c.group_name == bindparam("group"))
_OF_USERS = (
    select(subscription)
    .where(in_list(subscription.c.user_id, "user_ids"), subscription.c.status == 1)
    .order_by(subscription.c.user_id, subscription.c.group_name)
)
_OF_GROUP = (
    select(subscription)
    .where(subscription.c.group_name == bindparam("group_name"), subscription.c.status == 1)
    .order_by(subscription.c.user_id)
    .limit(bindparam("limit"))
)
_CHANGED_SINCE = (
    select(subscription)
    .where(subscription.c.version > bindparam("since"))
    .order_by(subscription.c.version)
    .limit(bindparam("limit"))
)


class SqlSubscriptions(Subscriptions):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @tried_again
    async def join(self, user_id: str, group: str, event_types: tuple[str, ...] | None) -> Joined:
        key = {"user": user_id, "group": group}
        async with self._connections.writing() as connection:
            head = await _take_version(connection)
            row = (await connection.execute(select(subscription).where(_THIS_ONE), key)).mappings().one_or_none()
            known = None if row is None else to_membership(row)
            standing = None if known is None else known.subscription
            joined_after = head.seq if standing is None else standing.joined_after
            joined = Subscription(user_id=user_id, group=group, event_types=event_types, joined_after=joined_after)
            if known is not None and joined == standing:
                await connection.execute(_GIVE_VERSION_BACK)
                return Joined(joined, new=False, version=known.version)
            values = from_subscription(joined, head.memberships)
            if known is None:
                await connection.execute(insert(subscription), values)
            else:
                await connection.execute(update(subscription).where(_THIS_ONE).values(values), key)
            if standing is not None:
                # Of types that are new to it the user may have old messages, which now count as not read.
                await connection.execute(delete(read_floor).where(read_floor.c.user_id == user_id))
        return Joined(joined, standing is None, head.memberships)

    @tried_again
    async def leave(self, user_id: str, group: str) -> int | None:
        async with self._connections.writing() as connection:
            version = (await _take_version(connection)).memberships
            left = await connection.execute(
                update(subscription).where(_THIS_ONE, subscription.c.status == 1).values(status=0, version=version),
                {"user": user_id, "group": group},
            )
            if left.rowcount == 0:
                await connection.execute(_GIVE_VERSION_BACK)
                return None
        return version

    @tried_again
    async def changed_since(self, version: int, limit: int) -> list[Membership]:
        async with self._connections.reading() as connection:
            rows = await connection.execute(_CHANGED_SINCE, {"since": version, "limit": limit})
        return [to_membership(row) for row in rows.mappings()]

    @tried_again
    async def of_users(self, user_ids: Sequence[str]) -> dict[str, list[Subscription]]:
        async with self._connections.reading() as connection:
            return await subscriptions_of(connection, user_ids)

    @tried_again
    async def of_group(self, group: str, limit: int) -> list[Subscription]:
        async with self._connections.reading() as connection:
            rows = await connection.execute(_OF_GROUP, {"group_name": group, "limit": limit})
        return [to_subscription(row) for row in rows.mappings()]


async def subscriptions_of(connection: AsyncConnection, user_ids: Sequence[str]) -> dict[str, list[Subscription]]:
    """The standing subscriptions of each of these users, by group name in code point order, inside a transaction of the
    caller's."""
    standing: dict[str, list[Subscription]] = {user_id: [] for user_id in user_ids}
    for row in (await connection.execute(_OF_USERS, {"user_ids": listed(user_ids)})).mappings():
        standing[row["user_id"]].append(to_subscription(row))
    return standing


async def _take_version(connection: AsyncConnection) -> LogHead:
    """Lock the log and count one more change; the log's head with it."""
    await connection.execute(_TAKE_VERSION)
    return to_head((await connection.execute(select(log))).one())
