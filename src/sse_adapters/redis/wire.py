"""Notes as they are in Redis, between one node and the others.

What is published at once is an envelope: a byte that says the version, one that says how long the telling node's id is,
the id, then a MessagePack array of notes. So a node knows its own, which Redis gives it too, by how they begin.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, msgpack

from sse_domain.message import Message, Receiver
from sse_domain.notes import Answer, Committed, EndStreams, HasRead, LearnMemberships, Note, Passing
from sse_domain.replay import LogHead

VERSION = 1
MAX_NOTE_BYTES = 256 * 1024
MAX_NOTES = 0xFFFF  # in an envelope

_MESSAGE_BYTES = 256  # what a message takes beside its data, roughly
_ARRAY = b"\xdc"  # MessagePack's array of up to MAX_NOTES: their number follows, in two bytes


class Unreadable(Exception):
    """What was published is no envelope, or one of another version."""


def address(node_id: str) -> bytes:
    """What envelopes of this node begin with, and those of no other."""
    name = node_id.encode()
    return bytes((VERSION, len(name))) + name


def encoded(note: Note) -> list[bytes]:
    """The note for an envelope; in more than one, in order, where it has too many messages for one of about
    MAX_NOTE_BYTES. A Committed goes without its messages then."""
    if isinstance(note, Committed):
        messages = note.messages if _fits(note.messages) else ()
        return [_encode(_Committed(note.head, messages))]
    if isinstance(note, Passing):
        if len(note.messages) < 2 or _fits(note.messages):
            return [_encode(_Passing(note.epoch, note.first, note.messages))]
        half = len(note.messages) // 2
        return [
            *encoded(Passing(note.epoch, note.first, note.messages[:half])),
            *encoded(Passing(note.epoch, note.first + half, note.messages[half:])),
        ]
    if isinstance(note, HasRead):
        return [_encode(_HasRead(note.user_id))]
    if isinstance(note, EndStreams):
        return [_encode(_EndStreams(note.question_id, note.receiver, note.reconnect))]
    if isinstance(note, LearnMemberships):
        return [_encode(_LearnMemberships(note.question_id, note.epoch, note.version))]
    return [_encode(_Answer(note.question_id, note.number))]


def envelope(own_address: bytes, notes: Sequence[bytes]) -> bytes:
    """What is published of encoded notes, at most MAX_NOTES."""
    return b"".join((own_address, _ARRAY, len(notes).to_bytes(2), *notes))


def opened(published: bytes) -> tuple[str, list[Note]]:
    """The telling node's id and its notes, in order. Raises Unreadable."""
    if len(published) < 2 or published[0] != VERSION:
        raise Unreadable(f"version {published[0]}" if published else "nothing")
    begin = 2 + published[1]
    try:
        return published[2:begin].decode(), [carried.note() for carried in _decode(memoryview(published)[begin:])]
    except ValueError as error:  # msgspec's errors are, and those of decoding text
        raise Unreadable(str(error)) from error


def _fits(messages: Sequence[Message]) -> bool:
    return sum([len(message.data) + _MESSAGE_BYTES for message in messages]) <= MAX_NOTE_BYTES


# msgspec tells by a number which class an array is of. New fields go at the end, and with a default: an older node
# doesn't look at them.
class _Committed(Struct, array_like=True, tag=0):
    head: LogHead
    messages: tuple[Message, ...]

    def note(self) -> Note:
        return Committed(self.head, self.messages)


class _Passing(Struct, array_like=True, tag=1):
    epoch: str
    first: int
    messages: tuple[Message, ...]

    def note(self) -> Note:
        return Passing(self.epoch, self.first, self.messages)


class _HasRead(Struct, array_like=True, tag=2):
    user_id: str

    def note(self) -> Note:
        return HasRead(self.user_id)


class _EndStreams(Struct, array_like=True, tag=3):
    question_id: str
    receiver: Receiver
    reconnect: bool

    def note(self) -> Note:
        return EndStreams(self.question_id, self.receiver, self.reconnect)


class _Answer(Struct, array_like=True, tag=4):
    question_id: str
    number: int

    def note(self) -> Note:
        return Answer(self.question_id, self.number)


class _LearnMemberships(Struct, array_like=True, tag=5):
    question_id: str
    epoch: str
    version: int

    def note(self) -> Note:
        return LearnMemberships(self.question_id, self.epoch, self.version)


_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder(list[_Committed | _Passing | _HasRead | _EndStreams | _Answer | _LearnMemberships]).decode
