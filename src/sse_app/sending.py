"""Sending in Python values: by the kind of receiver, with data that is yet to become JSON."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from contextlib import suppress
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

from sse_domain.errors import InvalidInput
from sse_domain.message import BROADCAST, Draft, Priority, Receiver

Answer = TypeVar("Answer")
Choice = TypeVar("Choice", bound=Enum)

_has_null = re.compile(b"null").search  # in half the time of `in`
# In MessagePack: a float whose exponent is all ones.
_has_no_number = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]").search


class Sending(ABC, Generic[Answer]):
    """Whatever takes drafts takes Python values as well. `persist` is what a message is when its sender doesn't say."""

    persist = False

    @abstractmethod
    async def send(self, draft: Draft) -> Answer:
        """Send one message."""

    async def send_to_user(self, user_id: str, event_type: str, data: Any, **options: Any) -> Answer:
        """Send to all streams and the inbox of a user. `options`: persist, priority, ttl (seconds), event_id.

        `data` is anything msgspec encodes as JSON, as by `draft`.
        """
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
    """A draft from Python values: `data` is anything msgspec encodes as JSON.

    Times, UUIDs, decimals and bytes become text, bytes in Base64, and that is what readers get. NaN and Infinity, which
    JSON does not have, are refused. Raises InvalidInput.
    """
    try:
        encoded = msgspec.json.encode(data)
        if _has_null(encoded) and _holds_no_number(data):
            raise InvalidInput("data", "can't be written as JSON, which has neither NaN nor Infinity")
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


def _holds_no_number(data: Any) -> bool:
    """Whether a float in it is NaN or infinite. The encoder writes null for those, and can't be told not to.

    MessagePack has them, so what has none is found innocent at an encoder's speed. Only what looks as if it had one is
    gone through.
    """
    with suppress(OverflowError):  # it has no integers of more than 64 bits
        if not _has_no_number(msgspec.msgpack.encode(data)):
            return False
    waiting = [msgspec.to_builtins(data, enc_hook=_as_written)]
    while waiting:
        each = waiting.pop()
        if isinstance(each, float):
            if not math.isfinite(each):
                return True
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list | tuple):
            waiting += each
    return False


def _as_written(data: Any) -> None:
    """Of what the encoder takes, only `msgspec.Raw` has no value: it is JSON already."""


def member_of(kind: type[Choice], field: str, value: object) -> Choice:
    """The member of an enumeration that a caller gives or names by its value. Raises InvalidInput."""
    if isinstance(value, kind):
        return value
    try:
        return kind(value)
    except ValueError:
        raise InvalidInput(field, f"must be one of {', '.join(str(member.value) for member in kind)}") from None
