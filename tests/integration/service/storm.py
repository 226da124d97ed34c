"""A storm: publishers that retry and readers that reconnect, by themselves, on every node, over whatever happens.

What they meet and should not is kept in `surprises`; `storm_checks` looks at that and at all that they remember.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import httpx

from tests.integration.service.reading import is_application, seq_of
from tests.support.event_stream import StreamEndedError, open_stream
from tests.support.http import API_PREFIX, JsonObject, open_api

USERS = ("ada", "bob", "eve", "zoe")
RECEIVERS: tuple[JsonObject, ...] = (*({"user_id": user} for user in USERS), {"group": "team"}, {"broadcast": True})
LAST = "storm.last"
PUBLISHERS = 4
PAUSE_SECONDS = 0.05  # before something is sent again; much less than Retry-After asks for
SECONDS = 240  # that a storm may take: one that loses a message would wait for it for ever


class Uptime:
    """Whether a server is up, and how much was answered and refused: what clients, and those who do harm, wait for."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.up.set()
        self.answered = 0
        self.refused = 0
        self._more = asyncio.Condition()

    async def count(self, *, answered: int = 0, refused: int = 0) -> None:
        async with self._more:
            self.answered += answered
            self.refused += refused
            self._more.notify_all()

    async def more_answered(self, count: int) -> None:
        total = self.answered + count
        async with self._more:
            await self._more.wait_for(lambda: self.answered >= total)

    async def more_refused(self, count: int) -> None:
        total = self.refused + count
        async with self._more:
            await self._more.wait_for(lambda: self.refused >= total)


@dataclass
class Sent:
    """A message as its publisher remembers it, with the seq of each answer; none while it may not be committed."""

    n: int
    to: JsonObject
    priority: int
    event_id: str | None
    answers: list[JsonObject] = field(default_factory=list)
    tries: int = 0

    def body(self) -> JsonObject:
        message = {"event_type": "storm", "data": {"n": self.n}, "persist": True, "priority": self.priority}
        return message | ({} if self.event_id is None else {"event_id": self.event_id})


class StormPublisher:
    """Sends to any of the nodes until it is stopped: singly and in batches, with event_ids and without.

    What has an event_id is sent until it is answered, and some of it once more after; what has none is sent once.
    """

    def __init__(self, nodes: Sequence[str], number: int, uptime: Uptime) -> None:
        self.sent: list[Sent] = []
        self.surprises: list[str] = []
        self.stopping = False
        self._nodes = nodes
        self._number = number
        self._uptime = uptime
        self._random = Random(number)

    async def run(self) -> None:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            while not self.stopping:
                named = self._random.random() < 0.7
                batch = [self._next(named=named) for _ in range(self._random.choice((1, 1, 1, 5, 20)))]
                await self._send(client, batch, named=named)
                if named and self._random.random() < 0.2:
                    await self._send(client, batch, named=named)

    def _next(self, *, named: bool) -> Sent:
        n = self._number * 1_000_000 + len(self.sent)
        event_id = f"{self._number}:{len(self.sent)}" if named else None
        self.sent.append(Sent(n, self._random.choice(RECEIVERS), self._random.randrange(3), event_id))
        return self.sent[-1]

    async def _send(self, client: httpx.AsyncClient, batch: list[Sent], *, named: bool) -> None:
        while True:
            await self._uptime.up.wait()
            for message in batch:
                message.tries += 1
            with suppress(httpx.TransportError):
                results = await self._post(client, self._random.choice(self._nodes), batch)
                refused = [result["error"] for result in results if "error" in result]
                for message, result in zip(batch, results, strict=True):
                    if "error" not in result:
                        message.answers.append(result)
                self.surprises += [
                    str(error) for error in refused if error["status"] != httpx.codes.SERVICE_UNAVAILABLE
                ]
                await self._uptime.count(answered=len(batch) - len(refused), refused=len(refused))
                if not refused:
                    return
            if not named:
                return  # to send it again might send it twice
            await asyncio.sleep(PAUSE_SECONDS)

    async def _post(self, client: httpx.AsyncClient, node: str, batch: list[Sent]) -> list[JsonObject]:
        """What the API says of each message: its identity, or its `error`."""
        if len(batch) == 1 and "user_id" in batch[0].to:
            response = await client.post(f"{node}{API_PREFIX}/send", json=batch[0].body() | batch[0].to)
            if response.is_success:
                if response.status_code == httpx.codes.OK and batch[0].event_id is None:
                    self.surprises.append(f"sent once and taken for a repeat: {batch[0]}")
                return [response.json()]
        else:
            messages = [message.body() | {"to": message.to} for message in batch]
            response = await client.post(f"{node}{API_PREFIX}/send/batch", json={"messages": messages})
            if response.is_success:
                results: list[JsonObject] = response.json()["results"]
                return results
        problem = response.json()
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE and not response.headers.get("retry-after"):
            self.surprises.append(f"no Retry-After: {problem}")
        return [{"error": problem}] * len(batch)


@dataclass
class StormReader:
    """Reads until LAST, over as many connections as it takes, each resumed from the last frame of the one before.

    With `restless` it also leaves by itself, now and then, for any of the nodes.
    """

    nodes: Sequence[str]
    params: JsonObject
    uptime: Uptime
    restless: Random | None = None
    given: list[tuple[int, int]] = field(default_factory=list)  # the seq by the cursor, and the message's own number
    surprises: list[str] = field(default_factory=list)
    connections: int = 0
    started: asyncio.Event = field(default_factory=asyncio.Event)
    _last_event_id: str | None = None

    async def run(self) -> None:
        ended = False
        while not ended:
            await self.uptime.up.wait()
            node = self.nodes[0] if self.restless is None else self.restless.choice(self.nodes)
            with suppress(StreamEndedError, ConnectionError):
                ended = await self._read(node)

    async def _read(self, node: str) -> bool:
        """Whether LAST has come."""
        self.connections += 1
        frames_left = None if self.restless is None else self.restless.randint(20, 200)
        async with open_stream(node, params=self.params, last_event_id=self._last_event_id) as stream:
            resuming = self._last_event_id is not None
            while frames_left != 0:
                frame = await stream.until(lambda frame: True, patience=30)
                self._last_event_id = frame.last_event_id or self._last_event_id
                if frame.event == "sse.open":
                    if (frame.json["resumed"], frame.json["complete"]) != (resuming, True):
                        self.surprises.append(f"after {self._last_event_id}: {frame.json}")
                    self.started.set()
                elif frame.event == "sse.reset":
                    self.surprises.append(f"reset: {frame.json}")
                elif frame.event == LAST:
                    return True
                elif is_application(frame):
                    self.given.append((seq_of(frame.id or ""), frame.json["n"]))
                if frames_left is not None:
                    frames_left -= 1
            return False


class StormMarker:
    """Marks messages of zoe as read, who has no stream: the same ones again until that is answered."""

    def __init__(self, nodes: Sequence[str], publishers: Sequence[StormPublisher], uptime: Uptime) -> None:
        self.marked: set[str] = set()
        self.surprises: list[str] = []
        self.stopping = False
        self._nodes = nodes
        self._publishers = publishers
        self._uptime = uptime
        self._random = Random(0)

    async def run(self) -> None:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            while not self.stopping:
                await self._uptime.more_answered(10)
                answered = [
                    sent.answers[0]["event_id"] for each in self._publishers for sent in each.sent if sent.answers
                ]
                event_ids = self._random.sample(answered, 5)
                while not await self._marks(client, event_ids):
                    await self._uptime.up.wait()
                self.marked.update(event_ids)

    async def _marks(self, client: httpx.AsyncClient, event_ids: list[str]) -> bool:
        url = f"{self._random.choice(self._nodes)}{API_PREFIX}/messages/read"
        try:
            response = await client.post(url, json={"user_id": "zoe", "event_ids": event_ids})
        except httpx.TransportError:
            return False
        if response.status_code not in (httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE):
            self.surprises.append(response.text)
        return response.is_success


class Storm:
    """On nodes that share one database, which has no message yet."""

    def __init__(self, nodes: Sequence[str], *, restless: bool = False) -> None:
        self.uptime = Uptime()
        self.publishers = [StormPublisher(nodes, number, self.uptime) for number in range(1, PUBLISHERS + 1)]
        self.marker = StormMarker(nodes, self.publishers, self.uptime)
        self._nodes = nodes

        def reader(number: int, params: JsonObject) -> StormReader:
            node = number % len(nodes)
            random = Random(number) if restless else None
            return StormReader([*nodes[node:], *nodes[:node]], params, self.uptime, random)

        self.readers = [
            reader(0, {"user_id": "ada"}),
            reader(1, {"user_id": "ada", "id": "second-device"}),
            reader(2, {"user_id": "bob", "group": "team"}),
            reader(3, {"user_id": "eve"}),
        ]

    @property
    def sent(self) -> list[Sent]:
        return [message for publisher in self.publishers for message in publisher.sent]

    @property
    def surprises(self) -> list[str]:
        of_all = [each.surprises for each in self.publishers] + [each.surprises for each in self.readers]
        return sum(of_all, self.marker.surprises)

    async def run(self, harm: Callable[[], Awaitable[None]]) -> None:
        """Until the harm is done and everybody has all that is theirs."""
        async with open_api(self._nodes[0]) as api:
            await api.subscribe("ada", "team")
        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as tasks:
            for reader in self.readers:
                tasks.create_task(reader.run())
            for reader in self.readers:
                await reader.started.wait()
            publishing = [tasks.create_task(publisher.run()) for publisher in self.publishers]
            marking = tasks.create_task(self.marker.run())
            await self.uptime.more_answered(20)
            await harm()
            await self.uptime.more_answered(100)
            self.marker.stopping = True
            await marking
            for publisher in self.publishers:
                publisher.stopping = True
            await asyncio.gather(*publishing)
            async with open_api(self._nodes[0]) as api:
                await api.broadcast(LAST, {"n": 0}, persist=True, event_id=LAST)
