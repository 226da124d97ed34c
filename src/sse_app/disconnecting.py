"""Ending a client's or a user's streams, on every node (SPEC §2, `/disconnect`).

Who is not to come back at once is turned away for a while, on every node as well. A note may be lost, so other nodes
are asked until each of them has answered. Each does what it was asked once, however often it is asked.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Set
from contextlib import suppress

from sse_app.clock import Clock
from sse_app.connection import Connection
from sse_app.hub import Hub
from sse_domain.errors import NodesUnavailable
from sse_domain.message import Receiver, ReceiverType
from sse_domain.notes import EndStreams, StreamsEnded
from sse_domain.ports import Bus, Presence

DISMISSAL_SECONDS = 30
ASKING_SECONDS = 0.25  # before a node that has not answered is asked again
MOST_ASKING = 8
REMEMBERED = 10_000  # commands that may be repeated


class _Asking:
    """How many streams each node has ended for a command, of those that have answered."""

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self._answered = asyncio.Event()

    def answer(self, node_id: str, streams: int) -> None:
        self.answers[node_id] = streams
        self._answered.set()

    async def answered(self, nodes: Set[str]) -> None:
        """Until all of these have answered."""
        while not nodes <= self.answers.keys():
            self._answered.clear()
            await self._answered.wait()


class Disconnections:
    def __init__(self, hub: Hub, bus: Bus, presence: Presence, clock: Clock) -> None:
        self._hub = hub
        self._bus = bus
        self._presence = presence
        self._clock = clock
        self._dismissed: dict[Receiver, float] = {}  # until when
        self._asking: dict[str, _Asking] = {}
        self._done: OrderedDict[str, int] = OrderedDict()

    def dismissed(self, client_id: str | None, user_id: str | None) -> bool:
        """Whether this reader is turned away for now."""
        if not self._dismissed:
            return False
        readers = (Receiver(ReceiverType.CLIENT, client_id), Receiver(ReceiverType.USER, user_id))
        return any(self._dismissed.get(reader, 0) > self._clock.monotonic() for reader in readers)

    async def end(self, receiver: Receiver, *, reconnect: bool) -> int:
        """End the streams of a user or client on every node; how many.

        Raises NodesUnavailable if not every node has said that it did so; on this one it is done all the same.
        """
        ended = self._end_here(receiver, reconnect=reconnect)
        command = EndStreams(secrets.token_hex(8), receiver, reconnect)
        self._asking[command.command_id] = asking = _Asking()
        try:
            silent = await self._ask(command, asking)
        finally:
            del self._asking[command.command_id]
        if silent:
            raise NodesUnavailable(f"done, but {silent} of the other nodes did not answer")
        return ended + sum(asking.answers.values())

    async def _ask(self, command: EndStreams, asking: _Asking) -> int:
        """Ask the other nodes until all have answered; how many have not, in the end, and are still there."""
        self._bus.tell(command)  # first: it is to be done also where it can't be learnt who is to answer
        nodes = await self._others()
        for asked in range(MOST_ASKING):
            if asked:
                self._bus.tell(command)
            with suppress(TimeoutError):
                async with asyncio.timeout(ASKING_SECONDS):
                    await asking.answered(nodes)
                return 0
        return len((nodes - asking.answers.keys()) & await self._others())

    async def _others(self) -> Set[str]:
        return {node.node_id for node in await self._presence.nodes()}

    def hear(self, command: EndStreams) -> None:
        """Another node asks for it, perhaps again."""
        ended = self._done.get(command.command_id)
        if ended is None:
            ended = self._end_here(command.receiver, reconnect=command.reconnect)
            self._done[command.command_id] = ended
            if len(self._done) > REMEMBERED:
                self._done.popitem(last=False)
        self._bus.tell(StreamsEnded(command.command_id, ended))

    def hear_answer(self, node_id: str, answer: StreamsEnded) -> None:
        """Another node has done what was asked, by this node or any other."""
        asking = self._asking.get(answer.command_id)
        if asking is not None:
            asking.answer(node_id, answer.streams)

    def _end_here(self, receiver: Receiver, *, reconnect: bool) -> int:
        now = self._clock.monotonic()
        self._dismissed = {known: until for known, until in self._dismissed.items() if until > now}
        self._dismissed.pop(receiver, None)
        if not reconnect:
            self._dismissed[receiver] = now + DISMISSAL_SECONDS
        streams = self._streams_of(receiver)
        for connection in streams:
            connection.end("disconnected", reconnect=reconnect)
        return len(streams)

    def _streams_of(self, receiver: Receiver) -> tuple[Connection, ...]:
        kind, identity = receiver
        if kind is ReceiverType.CLIENT:
            return tuple(self._hub.clients.get(identity or "", ()))
        user = self._hub.users.get(identity or "")
        return () if user is None else tuple(user.connections)
