"""What a connection makes of what Redis says, without any Redis: bytes in, calls and bytes out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sse_adapters.redis.pubsub import PubSubConnection

GREETED = b"%1\r\n+proto\r\n:3\r\n"
SUBSCRIBED = b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"


def message(payload: bytes, kind: bytes = b"message") -> bytes:
    return b">3\r\n$%d\r\n%b\r\n$1\r\nc\r\n$%d\r\n%b\r\n" % (len(kind), kind, len(payload), payload)


class Pipe(asyncio.Transport):
    """What the connection has sent; and whether it lets more come."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.reading = True
        self.aborted = False

    def write(self, data: Any) -> None:
        if self.aborted:
            raise RuntimeError("unable to perform operation; the handler is closed")  # as uvloop does
        self.sent += data

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def abort(self) -> None:
        self.aborted = True


class Line:
    """A connection, and what it has called."""

    def __init__(self, *, sharded: bool = False) -> None:
        self.heard: list[bytes] = []
        self.published = 0
        self.pipe = Pipe()
        self.connection = PubSubConnection(
            ("HELLO", "3", "AUTH", "hub", "secret"), "c", sharded, self.heard.append, self._published
        )
        self.connection.connection_made(self.pipe)

    def say(self, data: bytes) -> None:
        self.connection.data_received(data)

    def _published(self) -> None:
        self.published += 1


async def test_it_greets_and_subscribes_at_once() -> None:
    line = Line()
    assert line.pipe.sent == (
        b"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$3\r\nhub\r\n$6\r\nsecret\r\n"
        b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n"
    )
    begun = asyncio.create_task(line.connection.begun())
    line.say(GREETED)
    await asyncio.sleep(0)
    assert not begun.done()
    line.say(SUBSCRIBED)
    await begun
    assert not line.connection.ended.done()


@pytest.mark.parametrize("sharded", [False, True])
async def test_what_is_published_goes_out_and_what_others_publish_comes_in(sharded: bool) -> None:
    line = Line(sharded=sharded)
    line.say(GREETED + SUBSCRIBED.replace(b"$9\r\ns", b"$10\r\nss" if sharded else b"$9\r\ns"))
    line.pipe.sent = b""
    line.connection.publish(b"mine\r\n")
    command = b"$8\r\nSPUBLISH" if sharded else b"$7\r\nPUBLISH"
    assert line.pipe.sent == b"*3\r\n" + command + b"\r\n$1\r\nc\r\n$6\r\nmine\r\n\r\n"
    assert line.connection.publishing
    kind = b"smessage" if sharded else b"message"
    line.say(message(b"other", kind) + message(b"mine\r\n", kind))
    assert line.heard == [b"other", b"mine\r\n"]
    assert line.connection.publishing
    line.say(b":2\r\n")
    assert line.published == 1
    assert not line.connection.publishing


async def test_it_does_not_matter_how_the_bytes_are_cut() -> None:
    line = Line()
    for byte in GREETED + SUBSCRIBED + message(b"one") + b":1\r\n" + message(b"two" * 100):
        line.say(bytes((byte,)))
    assert line.heard == [b"one", b"two" * 100]
    assert line.published == 1


async def test_many_messages_at_once_leave_turns_to_others() -> None:
    line = Line()
    line.say(GREETED + SUBSCRIBED)
    told = [b"%d" % number for number in range(1000)]
    line.say(b"".join(map(message, told[:-1])))
    first_turn = len(line.heard)
    assert 0 < first_turn <= 100
    assert not line.pipe.reading
    line.say(message(told[-1]))  # what had come already
    assert len(line.heard) == first_turn
    await asyncio.sleep(0)
    assert len(line.heard) == 2 * first_turn
    for _ in range(1000 // first_turn):
        await asyncio.sleep(0)
    assert line.heard == told
    assert line.pipe.reading
    line.say(message(b"more"))
    assert line.heard[-1] == b"more"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"-WRONGPASS invalid username-password pair\r\n", "WRONGPASS invalid username-password pair"),
        (GREETED + b"-NOPERM no\r\n", "NOPERM no"),
        (GREETED + SUBSCRIBED + b"-MOVED 1 127.0.0.1:7\r\n", "MOVED 1 127.0.0.1:7"),
        (GREETED + b">3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0\r\n", "the channel has moved to another server"),
        (b"HTTP/1.1 400 Bad Request\r\n", "what came is not Redis"),
    ],
)
async def test_a_refusal_ends_it(said: bytes, why: str) -> None:
    line = Line()
    line.say(said + message(b"too late"))
    await line.connection.begun()
    assert line.connection.ended.result().startswith(why)
    assert line.pipe.aborted
    assert line.heard == []


async def test_nothing_is_called_once_it_has_ended() -> None:
    line = Line()
    line.say(GREETED + SUBSCRIBED)
    line.say(message(b"one") * 1000)
    heard = len(line.heard)
    line.connection.connection_lost(ConnectionResetError("reset by peer"))
    line.connection.connection_lost(None)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(line.heard) == heard
    assert line.connection.ended.result() == "reset by peer"


async def test_the_end_of_the_connection_is_the_end() -> None:
    line = Line()
    line.connection.connection_lost(None)
    await line.connection.begun()
    assert line.connection.ended.result() == "Redis has ended the connection"


async def test_what_nobody_has_asked_for_is_nothing() -> None:
    line = Line()
    line.say(GREETED + SUBSCRIBED + b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n" + message(b"one"))
    assert line.heard == [b"one"]
    assert line.published == 0


async def test_on_a_connection_that_is_just_ending_nothing_is_published() -> None:
    line = Line()
    line.pipe.abort()
    line.connection.publish(b"late")
    assert line.connection.publishing, "until it has ended, and is put back"
