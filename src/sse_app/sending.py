"""Sending in Python values: by the kind of receiver, with data that is yet to become JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

from sse_domain.errors import InvalidInput
from sse_domain.message import BROADCAST, Draft, Priority, Receiver

Answer = TypeVar("Answer")
Choice = TypeVar("Choice", bound=Enum)


class Sending(ABC, Generic[Answer]):
    """Whatever takes drafts takes Python values as well. `persist` is what a message is when its sender doesn't say."""

    persist = False

    @abstractmethod
    async def send(self, draft: Draft) -> Answer:
        """Send one message."""

    async def send_to_user(self, user_id: str, event_type: str, data: Any, **options: Any) -> Answer:
        """Send to all streams and the inbox of a user. `options`: persist, priority, ttl (seconds), event_id."""
        return await self.send(self._draft(Receiver.user(user_id), event_type, data, options))

    async def send_to_client(self, client_id: str, event_type: str, data: Any, **options: Any) -> Answer:
        """Send to one device or tab. `options` as for `send_to_user`."""
        return await self.send(self._draft(Receiver.client(client_id), event_type, data, options))

    async def send_to_group(self, group: str, event_type: str, data: Any, **options: Any) -> Answer:
        """Send to everyone in a group. `options` as for `send_to_user`."""
        return await self.send(self._draft(Receiver.group(group), event_type, data, options))

    async def broadcast(self, event_type: str, data: Any, **options: Any) -> Answer:
        """Send to everyone. `options` as for `send_to_user`."""
        return await self.send(self._draft(BROADCAST, event_type, data, options))

    def _draft(self, receiver: Receiver, event_type: str, data: Any, options: dict[str, Any]) -> Draft:
        options.setdefault("persist", self.persist)
        return draft(receiver, event_type, data, **options)


def draft(
    receiver: Receiver,
    event_type: str,
    data: Any,
    *,
    persist: bool = False,
    priority: Priority | int = Priority.NORMAL,
    ttl: float | None = None,
    event_id: str | None = None,
) -> Draft:
    """A draft from Python values: `data` is anything msgspec encodes as JSON. Raises InvalidInput."""
    try:
        encoded = msgspec.json.encode(data)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput("data", f"can't be written as JSON: {error}") from error
    return Draft(
        receiver=receiver,
        event_type=event_type,
        data=encoded,
        persist=persist,
        priority=member_of(Priority, "priority", priority),
        ttl=ttl,
        event_id=event_id,
    )


def member_of(kind: type[Choice], field: str, value: object) -> Choice:
    """The member of an enumeration that a caller gives or names by its value. Raises InvalidInput."""
    if isinstance(value, kind):
        return value
    try:
        return kind(value)
    except ValueError:
        raise InvalidInput(field, f"must be one of {', '.join(str(member.value) for member in kind)}") from None
