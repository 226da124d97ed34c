"""A storm: publishers that retry and readers that reconnect, by themselves, over crashes of their server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import httpx

from tests.integration.service.reading import is_application, seq_of
from tests.support.event_stream import StreamEndedError, open_stream
from tests.support.http import API_PREFIX, JsonObject, open_api

USERS = ("ada", "bob", "eve")
RECEIVERS: tuple[JsonObject, ...] = (*({"user_id": user} for user in USERS), {"group": "team"}, {"broadcast": True})
LAST = "storm.last"


class Uptime:
    """Whether the server is up, and how much it has answered: what clients and the one who kills it wait for."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.answered = 0
        self._more = asyncio.Condition()

    async def count(self, answers: int) -> None:
        async with self._more:
            self.answered += answers
            self._more.notify_all()

    async def until_answered(self, total: int) -> None:
        async with self._more:
            await self._more.wait_for(lambda: self.answered >= total)


@dataclass
class Sent:
    """A message as its publisher remembers it. `seq` is None while it is unknown whether it was committed."""

    n: int
    to: JsonObject
    priority: int
    event_id: str | None
    seq: int | None = None
    tries: int = 0

    def body(self) -> JsonObject:
        message = {"event_type": "storm", "data": {"n": self.n}, "persist": True, "priority": self.priority}
        return message | ({} if self.event_id is None else {"event_id": self.event_id})


class StormPublisher:
    """Sends until it is stopped. What has an event_id is sent until it is answered; what has none is sent once."""

    def __init__(self, base_url: str, name: str, uptime: Uptime) -> None:
        self.sent: list[Sent] = []
        self.stopping = False
        self._base_url = base_url
        self._name = name
        self._uptime = uptime
        self._random = Random(name)

    async def run(self) -> None:
        async with open_api(self._base_url) as api:
            while not self.stopping:
                await self._uptime.up.wait()
                named = self._random.random() < 0.7
                size = self._random.choice((1, 1, 1, 5, 20))
                batch = [self._next(named=named) for _ in range(size)]
                call = self._batch if size > 1 or batch[0].to.keys() & {"group", "broadcast"} else self._single
                await self._until_answered(partial(call, api.client, batch), batch, named=named)

    def _next(self, *, named: bool) -> Sent:
        n = len(self.sent)
        to, priority = self._random.choice(RECEIVERS), self._random.randrange(3)
        message = Sent(int(self._name) * 1_000_000 + n, to, priority, f"{self._name}:{n}" if named else None)
        self.sent.append(message)
        return message

    async def _until_answered(
        self, call: Callable[[], Awaitable[list[JsonObject]]], batch: list[Sent], *, named: bool
    ) -> None:
        while True:
            for message in batch:
                message.tries += 1
            try:
                answers = await call()
            except httpx.TransportError:
                if not named:
                    return  # to send it again might send it twice
                await self._uptime.up.wait()
                continue
            for message, answer in zip(batch, answers, strict=True):
                message.seq = answer["seq"]
            await self._uptime.count(len(batch))
            return

    async def _single(self, client: httpx.AsyncClient, batch: list[Sent]) -> list[JsonObject]:
        [message] = batch
        return [await _posted(client, "/send", message.body() | message.to)]

    async def _batch(self, client: httpx.AsyncClient, batch: list[Sent]) -> list[JsonObject]:
        body = {"messages": [message.body() | {"to": message.to} for message in batch]}
        results: list[JsonObject] = (await _posted(client, "/send/batch", body))["results"]
        return results


async def _posted(client: httpx.AsyncClient, path: str, body: Any) -> JsonObject:
    response = await client.post(API_PREFIX + path, json=body)
    assert response.status_code in (200, 201), response.text
    answer: JsonObject = response.json()
    return answer


@dataclass
class StormReader:
    """Reads until LAST, over as many connections as it takes, each resumed from the last frame of the one before."""

    base_url: str
    params: JsonObject
    uptime: Uptime
    given: list[tuple[int, int]] = field(default_factory=list)  # the seq by the cursor, and the message's own number
    connections: int = 0
    started: asyncio.Event = field(default_factory=asyncio.Event)
    _last_event_id: str | None = None

    async def run(self) -> None:
        while True:
            await self.uptime.up.wait()
            with suppress(StreamEndedError, ConnectionError):
                await self._read()
                return

    async def _read(self) -> None:
        self.connections += 1
        async with open_stream(self.base_url, params=self.params, last_event_id=self._last_event_id) as stream:
            resuming = self._last_event_id is not None
            while True:
                frame = await stream.until(lambda frame: True, patience=30)
                self._last_event_id = frame.last_event_id or self._last_event_id
                assert frame.event != "sse.reset", frame
                if frame.event == "sse.open":
                    assert (frame.json["resumed"], frame.json["complete"]) == (resuming, True)
                    self.started.set()
                if frame.event == LAST:
                    return
                if is_application(frame):
                    self.given.append((seq_of(frame.id or ""), frame.json["n"]))
