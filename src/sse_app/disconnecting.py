"""Ending a client's or a user's streams, on every node (SPEC §2, `/disconnect`).

Who is not to come back at once is turned away for a while, on every node as well. Each node does what it is asked once,
however often it is asked.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict

from sse_app.clock import Clock
from sse_app.connection import Connection
from sse_app.hub import Hub
from sse_app.questions import Questions
from sse_domain.errors import NodesUnavailable
from sse_domain.message import Receiver, ReceiverType
from sse_domain.notes import Answer, EndStreams
from sse_domain.ports import Bus

DISMISSAL_SECONDS = 30
MOST_ASKING = 8
REMEMBERED = 10_000  # commands that may be repeated


class Disconnections:
    def __init__(self, hub: Hub, bus: Bus, questions: Questions, clock: Clock) -> None:
        self._hub = hub
        self._bus = bus
        self._questions = questions
        self._clock = clock
        self._dismissed: dict[Receiver, float] = {}  # until when
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
        answers = await self._questions.ask(EndStreams(secrets.token_hex(8), receiver, reconnect), times=MOST_ASKING)
        if answers.missing:
            raise NodesUnavailable(f"done, but {answers.missing} of the other nodes did not answer")
        return ended + sum(answers.by_node.values())

    def hear(self, command: EndStreams) -> None:
        """Another node asks for it, perhaps again."""
        ended = self._done.get(command.question_id)
        if ended is None:
            ended = self._end_here(command.receiver, reconnect=command.reconnect)
            self._done[command.question_id] = ended
            if len(self._done) > REMEMBERED:
                self._done.popitem(last=False)
        self._bus.tell(Answer(command.question_id, ended))

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
