"""The record of what readers have been given: what `pending` and last-seen are answered from (SPEC §4).

Streams note what they give in memory. The ledger writes it to the inbox every few seconds and after a stream has
ended; until then questions are answered from both. A crash forgets at most those seconds: a reader without a cursor
may then be given something again, never too little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from itertools import islice

from sse_app.clock import Clock
from sse_app.connection import Connection
from sse_app.hub import Hub
from sse_domain.cursor import START, Positions
from sse_domain.inbox import Delivered
from sse_domain.message import Receiver, ReceiverType
from sse_domain.ports import Inbox

STREAMS_AT_ONCE = 1000  # are looked at before other work gets its turn: some ms
RECORDS_AT_ONCE = 500  # a transaction's worth, so that a flush for everyone does not hold up sends


class DeliveredLedger:
    def __init__(self, inbox: Inbox, hub: Hub, clock: Clock) -> None:
        self._inbox = inbox
        self._hub = hub
        self._clock = clock
        self._due: dict[Receiver, Delivered] = {}

    def left(self, connection: Connection) -> None:
        """A stream has ended: what it was given is due to be written."""
        self._note(connection)

    def forget(self) -> None:
        """What was given came from a log that is no longer there: none of it may be recorded."""
        self._due.clear()

    async def of(self, readers: Collection[Receiver]) -> dict[Receiver, Delivered]:
        """What these readers, about a thousand at most, have been given up to now; one that was never seen is absent.

        Raises StoreUnavailable.
        """
        # What is due may be written, and be due no more, after the store has read its answer: so look before and after.
        before = [(reader, self._noted(reader)) for reader in readers]
        known = await self._inbox.delivered(readers)
        for reader, noted in before:
            for record in (*noted, *self._noted(reader)):
                known[reader] = _merge(known.get(reader, record), record)
        return known

    async def positions(self, user_id: str) -> Positions:
        """What the user's unfiltered streams have been given up to now. Raises StoreUnavailable."""
        user = Receiver(ReceiverType.USER, user_id)
        record = (await self.of([user])).get(user)
        return START if record is None else record.positions

    async def flush(self) -> None:
        """Write what is due. Raises StoreUnavailable; what was not written stays due."""
        connections = iter(tuple(self._hub.connections))
        while some_streams := list(islice(connections, STREAMS_AT_ONCE)):
            for connection in some_streams:
                if connection.record() and not connection.closed:  # those that left were noted then
                    self._note(connection)
            await asyncio.sleep(0)
        waiting = list(self._due.items())
        for start in range(0, len(waiting), RECORDS_AT_ONCE):
            some = waiting[start : start + RECORDS_AT_ONCE]
            records = {reader: record for reader, record in some if self._due.get(reader) is record}
            await self._inbox.record_delivered(records)
            for reader, record in records.items():
                if self._due.get(reader) is record:  # unless it grew while it was written
                    del self._due[reader]

    def _note(self, connection: Connection) -> None:
        now = self._clock.now()
        for reader in connection.readers():
            record = Delivered(connection.given(reader), now)
            before = self._due.get(reader)
            self._due[reader] = record if before is None else _merge(before, record)

    def _noted(self, reader: Receiver) -> list[Delivered]:
        """What is known of a reader beside the inbox."""
        noted = [Delivered(stream.given(reader), self._clock.now()) for stream in self._streams_of(reader)]
        if reader in self._due:
            noted.append(self._due[reader])
        return noted

    def _streams_of(self, reader: Receiver) -> list[Connection]:
        kind, identity = reader
        if kind is ReceiverType.CLIENT:
            return list(self._hub.clients.get(identity or "", ()))
        user = self._hub.users.get(identity or "")
        return [] if user is None else list(user.connections)


def _merge(one: Delivered, other: Delivered) -> Delivered:
    return Delivered(one.positions.furthest(other.positions), max(one.seen_at, other.seen_at))
