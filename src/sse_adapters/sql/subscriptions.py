"""Durable group memberships, on a SQL database. A membership that was left stays as a row that is off."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sse_adapters.sql.connections import Connections
from sse_adapters.sql.rows import from_subscription, to_subscription
from sse_adapters.sql.schema import log, read_floor, subscription
from sse_domain.ports import Subscriptions
from sse_domain.subscription import Subscription

_OF_USER = (
    select(subscription)
    .where(subscription.c.user_id == bindparam("user_id"), subscription.c.status == 1)
    .order_by(subscription.c.group_name)
)
_OF_GROUP = (
    select(subscription)
    .where(subscription.c.group_name == bindparam("group_name"), subscription.c.status == 1)
    .order_by(subscription.c.user_id)
    .limit(bindparam("limit"))
)


class SqlSubscriptions(Subscriptions):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def join(self, user_id: str, group: str, event_types: tuple[str, ...] | None) -> tuple[Subscription, bool]:
        this_one = (subscription.c.user_id == user_id) & (subscription.c.group_name == group)
        async with self._connections.writing() as connection:
            row = (await connection.execute(select(subscription).where(this_one))).mappings().one_or_none()
            standing = to_subscription(row) if row is not None and row["status"] == 1 else None
            if standing is None:
                joined_after = (await connection.execute(select(log.c.last_seq))).scalar_one()
            else:
                joined_after = standing.joined_after
            joined = Subscription(user_id=user_id, group=group, event_types=event_types, joined_after=joined_after)
            if row is None:
                await connection.execute(insert(subscription), from_subscription(joined))
            elif joined != standing:
                await connection.execute(update(subscription).where(this_one).values(from_subscription(joined)))
            if standing is not None and joined != standing:
                # Of types that are new to it the user may have old messages, which now count as not read.
                await connection.execute(delete(read_floor).where(read_floor.c.user_id == user_id))
        return joined, standing is None

    async def leave(self, user_id: str, group: str) -> bool:
        async with self._connections.writing() as connection:
            left = await connection.execute(
                update(subscription)
                .where(
                    subscription.c.user_id == user_id,
                    subscription.c.group_name == group,
                    subscription.c.status == 1,
                )
                .values(status=0)
            )
        return left.rowcount == 1

    async def of_user(self, user_id: str) -> list[Subscription]:
        async with self._connections.reading() as connection:
            return await subscriptions_of(connection, user_id)

    async def of_group(self, group: str, limit: int) -> list[Subscription]:
        async with self._connections.reading() as connection:
            rows = await connection.execute(_OF_GROUP, {"group_name": group, "limit": limit})
        return [to_subscription(row) for row in rows.mappings()]


async def subscriptions_of(connection: AsyncConnection, user_id: str) -> list[Subscription]:
    """The user's standing subscriptions, by group name in code point order, inside a transaction of the caller's."""
    rows = await connection.execute(_OF_USER, {"user_id": user_id})
    return [to_subscription(row) for row in rows.mappings()]
