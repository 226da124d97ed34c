"""How the tests of this folder read streams: by conditions, so that they end the moment an answer is known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

from tests.support.event_stream import EventStream
from tests.support.http import HubApi, JsonObject
from tests.support.sse import Frame

MARKER = "test.marker"


def is_application(frame: Frame) -> bool:
    """Whether a publisher's message came with this frame."""
    return frame.dispatched and not frame.event.startswith("sse.") and frame.event != MARKER


def is_heartbeat(frame: Frame) -> bool:
    return frame.comment is not None and frame.id is not None


def numbers(frames: Iterable[Frame]) -> list[int]:
    """The `n` of each publisher's message among these frames, in order."""
    return [frame.json["n"] for frame in frames if is_application(frame)]


def seq_of(cursor: str) -> int:
    """The digits that a cursor begins with (SPEC §2)."""
    digits = len(cursor) - len(cursor.lstrip("0123456789"))
    return int(cursor[:digits])


def cursors(frames: list[Frame]) -> Iterator[tuple[str, list[Frame]]]:
    """Each frame's id with the frames after it: what a resume from there owes."""
    for index, frame in enumerate(frames):
        if frame.id is not None:
            yield frame.id, frames[index + 1 :]


async def opened(stream: EventStream) -> JsonObject:
    """What `sse.open` says."""
    payload: JsonObject = (await stream.until(lambda frame: frame.event == "sse.open")).json
    return payload


async def owed(api: HubApi, stream: EventStream) -> list[Frame]:
    """The publishers' messages that a fresh stream is given before one that is sent to it only now: all it was owed."""
    client_id = (await opened(stream))["client_id"]
    return await up_to_now(api, stream, client_id)


async def up_to_now(api: HubApi, stream: EventStream, client_id: str) -> list[Frame]:
    """The publishers' messages that an open stream is given before one that is sent to it only now."""
    await api.send(MARKER, None, client_id=client_id)
    frames = []
    while (frame := await stream.next()).event != MARKER:
        frames.append(frame)
    return [frame for frame in frames if is_application(frame)]


async def at_each_heartbeat(stream: EventStream, holds: Callable[[], Awaitable[bool]], beats: int = 100) -> None:
    """Ask again at every heartbeat of a healthy stream until it holds: the server's own pace, not a guess."""
    for _ in range(beats):
        if await holds():
            return
        await stream.until(is_heartbeat)
    raise AssertionError(f"not so after {beats} heartbeats")
