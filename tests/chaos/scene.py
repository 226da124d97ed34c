"""A run in which everything that a law speaks of happens, and nothing goes wrong: what the checker's tests damage."""

from __future__ import annotations

from tests.chaos.ideal import IdealHub
from tests.chaos.ideal_streams import IdealStream
from tests.chaos.record import BROADCAST, Received, Record, Send

NOBODY = ("user", "nobody")  # has no stream
HEARD_BY = 6.0  # seconds after which every node knows what was done on another


class Scene:
    """Ada reads all the time, and once comes back; Bob has a phone and is in the lobby; Eve, and other devices
    of Ada's, come late."""

    def __init__(self) -> None:
        hub = self.hub = IdealHub()
        self.first = hub.send(("user", "ada"))
        self.ada = hub.open("ada", user="ada", unread=True)
        self.bob = hub.open("bob", user="bob", client="phone", groups=["lobby"], node="two", stays=False)
        self.named = hub.send(BROADCAST, event_id="named", priority=1)
        hub.send_again(self.named, node="two")
        self.outsiders = hub.send(("group", "team"))
        self.join = hub.change("ada", "team", joins=True)
        hub.change("bob", "club", joins=True)
        self.insiders = hub.send(("group", "team"))
        self.to_lobby = hub.send(("group", "lobby"))
        self.to_phone = hub.send(("client", "phone"))
        self.to_bob = hub.send(("user", "bob"))
        self.passing = [hub.send(persist=False) for _ in range(2)]
        self.passing_bob = hub.send(("user", "bob"), persist=False)
        self.unanswered = [hub.send(NOBODY, answered=False) for _ in range(3)]
        self.answered = [hub.send(NOBODY) for _ in range(2)]
        self.short = hub.send(BROADCAST, ttl=3)
        self._overtake()
        self._resume()
        self.mark = hub.mark("ada", event_ids=["id-1"])
        hub.step(HEARD_BY)
        hub.change("ada", "team", joins=False)
        self.leavers = hub.send(("group", "team"))
        hub.disconnect("phone", reconnect=False)
        hub.step(3 * HEARD_BY)
        self.turned_away = hub.open("bob", user="bob", client="phone", groups=["lobby"], stays=False).connection
        self.turned_away.status, self.turned_away.frames, self.turned_away.ended_at = 204, [], hub.step()
        self.eve = hub.open("eve", user="eve", node="two")
        self.thief = hub.open("thief", user="thief", cursor="12-of.another.log")
        self.tablet = hub.open("ada's tablet", user="ada", replay="unread")
        self.desk = hub.open("ada's desk", user="ada", replay="pending")
        self.late = [hub.send(("user", name)) for name in ("eve", "thief", "ada")]
        hub.count("ada")
        hub.list_messages("ada")
        self.record: Record = hub.finish()

    def _overtake(self) -> None:
        self.ada.stalled = True
        hub = self.hub
        self.high, self.urgent, self.low = (hub.send(("user", "ada"), priority=priority) for priority in (1, 2, 0))
        self.ada.stalled = False
        hub.beat()
        hub.flush()
        hub.beat()

    def _resume(self) -> None:
        hub = self.hub
        place = hub.close(self.ada, "cut")
        self.missed = [hub.send(("user", "ada")), hub.send(BROADCAST)]
        self.back = hub.open("ada", user="ada", unread=True, resume=place, node="two")
        self.live = [hub.send(("user", "ada")) for _ in range(3)]


def frames(stream: IdealStream) -> list[Received]:
    return stream.connection.frames


def place_of(stream: IdealStream, send: Send) -> int:
    """Where a message stands among a stream's frames."""
    [place] = [place for place, frame in enumerate(frames(stream)) if frame.is_message and frame.n == send.n]
    return place


def message_frame(scene: Scene, send: Send, at: float, waited: float) -> Received:
    """What would come if that message were given then."""
    seq = next((kept.seq for kept in scene.hub.kept if kept.send is send), None)
    cursor = None if seq is None else f"{seq}-inserted"
    event = send.event_type
    return Received(at=at, not_before=waited, event=event, id=cursor, data=send.data, has_data=True)


def give(scene: Scene, stream: IdealStream, send: Send) -> None:
    """Damage: give a stream this message, in its place by seq among those of its priority."""
    shown = frames(stream)
    seqs = {kept.send.n: kept.seq for kept in scene.hub.kept if kept.send.priority == send.priority}
    beyond = [p for p, frame in enumerate(shown) if frame.is_message and seqs.get(frame.n, 0) > seqs[send.n]]
    place = min(beyond, default=len(shown))
    before = shown[place - 1]
    shown.insert(place, message_frame(scene, send, before.at, before.not_before))


def take(stream: IdealStream, send: Send) -> None:
    """Damage: keep this message from a stream."""
    del frames(stream)[place_of(stream, send)]


def swap(stream: IdealStream, one: Send, other: Send) -> None:
    """Damage: exchange two messages of a stream; what is their ids' business stays right."""
    shown = frames(stream)
    first, second = place_of(stream, one), place_of(stream, other)
    shown[first], shown[second] = shown[second], shown[first]
    for place in (first, second):
        cursor = shown[place].id
        shown[place].id = None if cursor is None else f"{cursor}.exchanged"
