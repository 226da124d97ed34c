"""An order and the event that tells of it, saved in one transaction: there are both, or neither.

Run it with `python examples/outbox.py`, wherever sse-hub is installed; it keeps both in ./orders.db.
"""

from __future__ import annotations

import asyncio

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sse_app import HubService, Settings, open_hub

DATABASE_URL = "sqlite+aiosqlite:///orders.db"


class Base(DeclarativeBase):
    """The application's own tables, in the database that the hub's are in."""


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    amount: Mapped[int]


async def place_order(sessions: async_sessionmaker[AsyncSession], hub: HubService, user_id: str, amount: int) -> None:
    """Save an order and tell its user. Raises ValueError, and then has done neither."""
    async with sessions.begin() as session:
        order = Order(user_id=user_id, amount=amount)
        session.add(order)
        await session.flush()  # gives the order its id
        await hub.outbox(session).send_to_user(user_id, "order.placed", {"order": order.id, "amount": amount})
        if amount <= 0:
            raise ValueError("an order costs something")


async def main() -> None:
    engine = create_async_engine(DATABASE_URL)
    sessions = async_sessionmaker(engine)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)

    async with open_hub(Settings(database_url=DATABASE_URL)) as hub, hub.listen(user_id="ada") as stream:
        await place_order(sessions, hub, "ada", 12)
        print("placed", (await anext(stream)).data)
        try:
            await place_order(sessions, hub, "ada", 0)
        except ValueError as error:
            print("refused:", error)
        await place_order(sessions, hub, "ada", 30)
        print("placed", (await anext(stream)).data)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
