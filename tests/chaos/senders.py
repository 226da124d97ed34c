"""Publishers: they send to any of the nodes whatever can be sent, until they are told to stop.

What has an event_id is sent until it is answered, and some of it once more after; what has none, or is ephemeral, is
sent once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from tests.chaos.record import BROADCAST, Send
from tests.chaos.run import PAUSE_SECONDS, Caller, Run, open_caller
from tests.support.http import JsonObject

TYPES = ("note", "news", "alert")
LAST = "last"
TTLS = (0.5, 2.0)
BULK = 20_000


@dataclass(frozen=True)
class Load:
    """What is sent: to whom, and how often. `bulky` receivers are sent a lot more of data."""

    receivers: Sequence[tuple[str, str]]
    senders: int = 3
    pause_seconds: float = 0.05  # at most, between a sender's calls
    batches: Sequence[int] = (1, 1, 1, 4, 12)
    ephemeral: float = 0.5  # of what has no event_id
    short_lived: float = 0.2  # likewise
    bulky: Sequence[tuple[str, str]] = ()


class Sender:
    def __init__(self, run: Run, load: Load, number: int) -> None:
        self._run = run
        self._load = load
        self._random = run.random(f"sender {number}")

    async def run(self) -> None:
        async with open_caller(self._run) as caller:
            while not self._run.progress.ending:
                named = self._random.random() < 0.6
                sends = self._next_batch(named=named)
                await self._send(caller, sends, again=named)
                if named and self._random.random() < 0.2:
                    await self._send(caller, sends, again=named)
                await asyncio.sleep(self._random.uniform(0, self._load.pause_seconds))

    def _next_batch(self, *, named: bool) -> list[Send]:
        """One or several messages for one call. What may be sent twice has event_ids, is persisted, and has no TTL: of
        what has expired no trace is left, and it may be sent anew under its event_id."""
        count = self._random.choice(self._load.batches)
        batch = self._run.next_batch()
        sends = [self._next(batch, named=named, single=count == 1) for _ in range(count)]
        self._run.record.sends += sends
        return sends

    def _next(self, batch: int, *, named: bool, single: bool) -> Send:
        random, n = self._random, self._run.next_number()
        to = random.choice(self._load.receivers)
        return Send(
            n=n,
            event_type=random.choice(TYPES),
            to=to,
            batch=batch,
            single=single,
            persist=named or random.random() >= self._load.ephemeral,
            priority=random.choice((0, 0, 1, 2)),
            ttl=None if named or random.random() >= self._load.short_lived else random.choice(TTLS),
            event_id=f"named-{n}" if named else None,
            bulk=BULK if to in self._load.bulky else 0,
        )

    async def _send(self, caller: Caller, sends: Sequence[Send], *, again: bool) -> None:
        """Send them in one call; `again` and again until all are answered."""
        while True:
            node = self._random.choice(self._run.nodes)
            if sends[0].single:
                response = await send_one(caller, sends[0], node)
            else:
                response = await _send_batch(caller, sends, node)
            accepted = sum(send.attempts[-1].accepted for send in sends if send.attempts)
            if response is not None:
                await self._run.progress.count(answered=accepted, failed=len(sends) - accepted)
            else:
                await self._run.progress.count(failed=len(sends))
            never_left = not sends[0].attempts
            if accepted == len(sends) or not (again or never_left) or self._gives_up(sends):
                return
            await asyncio.sleep(PAUSE_SECONDS)

    def _gives_up(self, sends: Sequence[Send]) -> bool:
        """Whether it is no use: nothing was ever heard, and time is up; or it was refused for good."""
        if not sends[0].attempts:
            return self._run.progress.ending
        return any(400 <= (send.attempts[-1].status or 0) < 500 for send in sends)


async def send_one(caller: Caller, send: Send, node: str) -> httpx.Response | None:
    """By the call that is made for such receivers."""
    kind, identity = send.to
    path = {"group": "/send/group", "broadcast": "/broadcast"}.get(kind, "/send")
    return await caller.attempt([send], node, path, _body(send) | _receiver(kind, identity))


async def _send_batch(caller: Caller, sends: Sequence[Send], node: str) -> httpx.Response | None:
    """The attempts get the answers that are each message's own."""
    messages = [_body(send) | {"to": _receiver(*send.to) or {"broadcast": True}} for send in sends]
    response = await caller.attempt(sends, node, "/send/batch", {"messages": messages})
    if response is not None and response.is_success:
        for send, result in zip(sends, response.json()["results"], strict=True):
            problem = result.get("error")
            send.attempts[-1].status = response.status_code if problem is None else problem["status"]
            send.attempts[-1].answer = result if problem is None else problem
    return response


def _receiver(kind: str, identity: str) -> JsonObject:
    names = {"user": "user_id", "client": "client_id", "group": "group"}
    return {} if kind == "broadcast" else {names[kind]: identity}


def _body(send: Send) -> JsonObject:
    body: JsonObject = {
        "event_type": send.event_type,
        "data": {"n": send.n} | ({"bulk": "x" * send.bulk} if send.bulk else {}),
        "persist": send.persist,
        "priority": send.priority,
    }
    if send.ttl is not None:
        body["ttl"] = send.ttl
    if send.event_id is not None:
        body["event_id"] = send.event_id
    return body


async def send_many(run: Run, caller: Caller, to: tuple[str, str], count: int) -> None:
    """In one call."""
    batch = run.next_batch()
    numbers = [run.next_number() for _ in range(count)]
    sends = [
        Send(n=n, event_type=TYPES[0], to=to, batch=batch, single=False, priority=n % 3, event_id=f"many-{n}")
        for n in numbers
    ]
    run.record.sends += sends
    while any(send.accepted is None for send in sends):
        await _send_batch(caller, sends, run.nodes[0])


async def send_last(run: Run) -> Send:
    """When everything else is sent: a broadcast that comes after it all."""
    last = Send(n=run.next_number(), event_type=LAST, to=BROADCAST, batch=run.next_batch(), event_id=LAST)
    run.record.sends.append(last)
    nodes = run.random("last")
    async with open_caller(run) as caller:
        while True:
            await send_one(caller, last, nodes.choice(run.nodes))
            if last.accepted is not None:
                return last
            await asyncio.sleep(PAUSE_SECONDS)
