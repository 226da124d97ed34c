"""Random runs of a hub that makes no mistakes, with all that makes records hard to judge: answers that are lost, joins
that may have been made, messages that expire and are removed, streams that stall, are cut, and resume from any frame.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tests.chaos.ideal import IdealHub
from tests.chaos.ideal_streams import IdealStream
from tests.chaos.record import BROADCAST, Fault, FramePlace, MembershipChange, Record, Send

USERS = ("ada", "bob", "eve")
GROUPS = ("team", "club")
TYPES = ("note", "news")
NODES = ("one", "two")
RECEIVERS = (
    BROADCAST,
    ("client", "phone"),
    *(("user", user) for user in USERS),
    *(("group", group) for group in (*GROUPS, "lobby")),
)

READERS: dict[str, dict[str, Any]] = {
    "ada": {"user": "ada", "unread": True},
    "ada-phone": {"user": "ada", "client": "phone", "groups": ["lobby"]},
    "bob": {"user": "bob", "replay": "unread"},
    "bob-news": {"user": "bob", "event_types": ["news"]},
    "visitor": {"replay": "none", "groups": ["lobby"]},
}


class RandomStory:
    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._hub = IdealHub()
        self._open: dict[str, IdealStream] = {}
        self._places: dict[str, list[FramePlace]] = {name: [] for name in READERS}
        self._unanswered: list[Send] = []
        self._unsettled: dict[tuple[str, str], float] = {}

    def run(self, steps: int = 200) -> Record:
        actions: list[tuple[int, Callable[[], object]]] = [
            (30, self._send),
            (3, self._send_again),
            (16, self._connect),
            (5, self._leave),
            (8, self._stall),
            (4, self._change),
            (4, self._mark),
            (3, lambda: self._hub.count(self._random.choice(USERS))),
            (2, lambda: self._hub.list_messages(self._random.choice(USERS))),
            (5, self._hub.beat),
            (4, lambda: self._hub.step(self._random.choice((0.5, 2, 6)))),
            (2, self._hub.remove_expired),
            (1, self._crash),
            (1, self._lose_cursor),
            (1, self._visit_offline),
        ]
        weights = [weight for weight, _ in actions]
        for _ in range(steps):
            [(_, action)] = self._random.choices(actions, weights)
            action()
        for name in READERS:
            if name not in self._open:
                self._open[name] = self._opened(name)
        for user in USERS:
            self._hub.count(user)
        return self._hub.finish()

    def _send(self) -> None:
        random = self._random
        to = random.choice(RECEIVERS)
        persist = random.random() < 0.8
        answered = random.random() < 0.9
        send = self._hub.send(
            to,
            persist=persist,
            priority=random.randrange(3),
            ttl=random.choice((None, None, None, 0.3, 3.0)),
            event_type=random.choice(TYPES),
            event_id=f"named-{len(self._hub.record.sends)}" if random.random() < 0.5 else None,
            node=random.choice(NODES),
            answered=answered,
            committed=answered or random.random() < 0.5,
        )
        if persist and send.event_id is not None:
            self._unanswered.append(send)

    def _send_again(self) -> None:
        if self._unanswered:
            self._hub.send_again(self._random.choice(self._unanswered), node=self._random.choice(NODES))

    def _connect(self) -> None:
        name = self._random.choice(list(READERS))
        if name not in self._open:
            self._open[name] = self._opened(name)

    def _opened(self, name: str) -> IdealStream:
        """Resumed: mostly from where it was, now and then from any frame that the reader ever had."""
        places = self._places[name]
        resume = None
        if places:
            resume = places[-1] if self._random.random() < 0.7 else self._random.choice(places)
        return self._hub.open(name, **READERS[name], node=self._random.choice(NODES), resume=resume)

    def _leave(self) -> None:
        if self._open:
            self._end(self._random.choice(list(self._open)))

    def _end(self, name: str) -> None:
        stream = self._open.pop(name)
        self._hub.close(stream, self._random.choice(("left", "cut", "ended")))
        connection = stream.connection
        self._places[name] += [
            FramePlace(connection.number, place)
            for place, frame in enumerate(connection.frames)
            if frame.id is not None
        ]

    def _stall(self) -> None:
        if self._open:
            stream = self._open[self._random.choice(list(self._open))]
            stream.stalled = not stream.stalled
            self._hub.flush()

    def _change(self) -> None:
        """One whose answer is lost is asked for again, or left open for good."""
        pair = self._random.choice(USERS), self._random.choice(GROUPS)
        if self._unsettled.get(pair, 0) > self._hub.now:
            return
        answered = self._random.random() < 0.7
        change: MembershipChange = self._hub.change(
            *pair,
            joins=self._random.random() < 0.6,
            event_types=self._random.choice((None, None, ["note"])),
            answered=answered,
            done=answered or self._random.random() < 0.5,
        )
        if not answered:
            if self._random.random() < 0.7:
                self._hub.step(self._random.choice((0, 1)))
                self._hub.change_again(change)
            self._unsettled[pair] = self._hub.now + self._random.choice((0, 10))

    def _mark(self) -> None:
        user = self._random.choice(USERS)
        known = [kept.event_id for kept in self._hub.kept]
        places = [place for name in ("ada", "ada-phone") for place in self._places[name]]
        match self._random.randrange(4):
            case 0 if known:
                self._hub.mark(user, event_ids=self._random.sample(known, min(3, len(known))))
            case 1 if visible := self._hub.visible(user):
                self._hub.mark(user, up_to=self._random.choice(visible).event_id)
            case 2 if places:
                self._hub.mark("ada", up_to_frame=self._random.choice(places))
            case _:
                self._hub.mark(user)

    def _crash(self) -> None:
        fault = Fault(name="crash", begun_at=self._hub.step(), nodes=[self._random.choice(NODES)])
        for name, stream in list(self._open.items()):
            if stream.connection.node in (fault.nodes or ()):
                self._end(name)
        fault.ended_at = self._hub.step(1)
        self._hub.record.faults.append(fault)

    def _lose_cursor(self) -> None:
        """A reader that comes with something that is no cursor is told so, and begins anew."""
        name = self._random.choice(list(READERS))
        if name not in self._open:
            self._open[name] = self._hub.open(name, **READERS[name], cursor=self._random.choice(("x", "7-another.log")))

    def _visit_offline(self) -> None:
        """A user of whom no stream is open, with what was sent meanwhile."""
        stream = self._hub.open("eve", user="eve", stays=False)
        self._hub.step()
        self._hub.close(stream)
