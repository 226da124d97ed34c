"""Readers: each has its ways, and notes every frame. They come back with the id of the last frame, as browsers do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from tests.chaos.record import Connection, FramePlace, Reader, Received
from tests.chaos.run import PAUSE_SECONDS, Run
from tests.chaos.senders import LAST
from tests.support.event_stream import EventStream, StreamEndedError, open_stream
from tests.support.http import JsonObject
from tests.support.sse import Frame

SILENCE_SECONDS = 8.0  # with heartbeats every second: a reader takes a stream for dead
OPENING_SECONDS = 30.0  # of a stream among a thousand that open at once
BEAT_SECONDS = 1.0
NO_CONTENT = 204


@dataclass(frozen=True, kw_only=True)
class Ways:
    """What a reader asks for, and how it behaves.

    `restless`: it leaves by itself after so many frames, at most, for any node, until all comes to an end. `slow`: it
    takes little, and then waits for that many sends. `picky`: it may come back with the id of any frame that it ever
    had. `comes_anew`: without any. `stays`: it reads until it has everything. `home`: the number of the node that it
    comes to first.
    """

    name: str
    user_id: str | None = None
    client_id: str | None = None
    groups: Sequence[str] = ()
    event_types: Sequence[str] | None = None
    replay: str = "pending"
    unread: bool = False
    restless: int | None = None
    slow: int = 0
    picky: bool = False
    comes_anew: bool = False
    stays: bool = True
    home: int | None = None

    def parameters(self) -> dict[str, str | Sequence[str]]:
        asked: dict[str, str | Sequence[str] | None] = {
            "user_id": self.user_id,
            "id": self.client_id,
            "group": list(self.groups) or None,
            "event_types": None if self.event_types is None else ",".join([*self.event_types, LAST]),
            "replay": None if self.replay == "pending" else self.replay,
            "unread": "1" if self.unread else None,
        }
        return {name: value for name, value in asked.items() if value is not None}


@dataclass(eq=False)
class ChaosReader:
    """`started` once its first stream is open, `has_all` once LAST has come. Cancel `run` to let it leave."""

    run_: Run
    ways: Ways
    started: asyncio.Event = field(default_factory=asyncio.Event)
    has_all: asyncio.Event = field(default_factory=asyncio.Event)
    told_unread: JsonObject | None = None
    connections: int = 0
    _places: list[FramePlace] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random: Random = self.run_.random(f"reader {self.ways.name}")
        nodes = len(self.run_.nodes)
        self._home = self._random.randrange(nodes) if self.ways.home is None else self.ways.home
        self.run_.record.readers.append(Reader(name=self.ways.name, stays=self.ways.stays))

    @property
    def place(self) -> FramePlace | None:
        """Of the last frame with an id that it was given."""
        return self._places[-1] if self._places else None

    async def run(self) -> None:
        while True:
            connection = self._connection()
            try:
                await self._read(connection)
            except StreamEndedError as error:
                connection.end = "ended" if error.clean else "cut"
                if connection.status is None:
                    connection.end = "refused"
            except OSError:
                connection.end = "refused"
            except AssertionError:
                connection.end = "silent"
            except asyncio.CancelledError:
                connection.end = "finished" if self.has_all.is_set() else "left"
                raise
            finally:
                connection.ended_at = self.run_.clock.now()
            if connection.status == NO_CONTENT:
                return
            if connection.end in ("refused", "silent"):
                self._home = (self._home + 1) % len(self.run_.nodes)
                await asyncio.sleep(PAUSE_SECONDS)

    def _connection(self) -> Connection:
        """The next one, as it will stand in the record."""
        nodes, ways, record = self.run_.nodes, self.ways, self.run_.record
        if ways.restless is not None:
            self._home = self._random.randrange(len(nodes))
        resume = self.place
        if self._places and ways.picky and self._random.random() < 0.3 and not self.run_.progress.ending:
            resume = self._random.choice(self._places)
        if ways.comes_anew:
            resume = None
        cursor = None if resume is None else record.connections[resume.connection].frames[resume.frame].id
        connection = Connection(
            number=len(record.connections),
            reader=ways.name,
            node=nodes[self._home],
            asked_at=self.run_.clock.now(),
            user_id=ways.user_id,
            client_id=ways.client_id,
            groups=list(ways.groups),
            event_types=None if ways.event_types is None else [*ways.event_types, LAST],
            replay=ways.replay,
            unread=ways.unread,
            cursor=cursor,
            resumed_from=resume,
        )
        record.connections.append(connection)
        self.connections += 1
        return connection

    async def _read(self, connection: Connection) -> None:
        frames_left = None if self.ways.restless is None else self._random.randint(1, self.ways.restless)
        async with open_stream(
            connection.node,
            params=self.ways.parameters(),
            last_event_id=connection.cursor,
            receive_buffer=4096 if self.ways.slow else None,
            patience=OPENING_SECONDS,
        ) as stream:
            connection.status = stream.status
            while frames_left is None or frames_left > 0 or self.run_.progress.ending:
                frame = await stream.until(lambda frame: True, SILENCE_SECONDS)
                self._take(connection, stream, frame)
                if frames_left is not None:
                    frames_left -= 1
                if self.ways.slow and frame.dispatched:
                    await self.run_.progress.more_answered(self._random.randint(0, self.ways.slow))
        connection.end = "left"

    def _take(self, connection: Connection, stream: EventStream, frame: Frame) -> None:
        now, waited = self.run_.clock.now(), connection.asked_at
        if stream.waited_since is not None and not self.ways.slow:
            waited = max(waited, self.run_.clock.at(stream.waited_since))
        received = Received(
            at=now,
            not_before=waited,
            event=frame.event if frame.dispatched else "",
            id=frame.id,
            data=_noted(frame),
            has_data=frame.dispatched,
            retry=frame.retry,
        )
        connection.frames.append(received)
        if frame.id is not None:
            self._places.append(FramePlace(connection.number, len(connection.frames) - 1))
        if frame.event == "sse.open" and isinstance(received.data, dict):
            self.started.set()
            self.told_unread = received.data["unread"]
        elif frame.event == "sse.unread" and isinstance(received.data, dict):
            self.told_unread = received.data
        elif frame.event == LAST:
            self.has_all.set()


def _noted(frame: Frame) -> object:
    """The data as the record has it: of bulk no more than how much it is."""
    if not frame.dispatched:
        return None
    with suppress(ValueError):
        data = frame.json
        if isinstance(data, dict) and isinstance(data.get("bulk"), str) and not data["bulk"].strip("x"):
            return data | {"bulk": len(data["bulk"])}
        return data
    return frame.data
