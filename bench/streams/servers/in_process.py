"""A program with the hub inside, as README.md shows it, which sends to its own users when it is told to.

POST /publish sends; POST /listen makes readers in the program itself; whoever opens a stream over HTTP is a reader too.
"""

import asyncio
import time

import msgspec
from litestar import Litestar, get, post

from bench.streams.servers.listen import listen
from sse_app import hub_router, load_settings, open_hub
from sse_app.http_protocol import TransportProtocol

# What reads and writes the connections gets its turn after so many sends.
_SENDS_AT_ONCE = 100
_node = open_hub(load_settings())
_hub = _node.hub


class Order(msgspec.Struct):
    """Messages of these numbers, without the last, dealt out to so many users. The mark precedes the number."""

    first: int
    until: int
    users: int
    mark: str
    text: str


class Readers:
    """The readers in the program itself, and how many messages they have yet to read."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._left = 0
        self._all_read = asyncio.Event()

    async def begin(self, users: range) -> None:
        """Let these users read from now on."""
        opened = {number: asyncio.Event() for number in users}
        self._tasks += [asyncio.create_task(self._read(f"user-{number}", opened[number])) for number in users]
        for each in opened.values():
            await each.wait()

    def expect(self, messages: int) -> None:
        """As many are about to be sent."""
        self._left = messages
        self._all_read.clear()

    async def finish(self) -> None:
        """Wait until they have read what was to be expected, if there are any readers."""
        if self._tasks:
            await self._all_read.wait()

    async def _read(self, user_id: str, opened: asyncio.Event) -> None:
        async with _hub.listen(user_id=user_id) as stream:
            opened.set()
            async for _ in stream:
                self._left -= 1
                if self._left == 0:
                    self._all_read.set()


class Sent(msgspec.Struct):
    """When the first was sent, by `time.monotonic_ns`, and when the readers in the program had read as many as were
    sent, if there are any; else when the last was sent.
    """

    began_ns: int
    ended_ns: int


_readers = Readers()


@post("/publish")
async def publish(data: Order) -> Sent:
    """Send them as fast as they are taken."""
    _readers.expect(data.until - data.first)
    began_ns = time.monotonic_ns()
    for number in range(data.first, data.until):
        content = {"mark": f"{data.mark}{number}", "text": data.text}
        await _hub.send_to_user(f"user-{number % data.users}", "bench", content)
        if number % _SENDS_AT_ONCE == 0:
            await asyncio.sleep(0)
    await _readers.finish()
    return Sent(began_ns=began_ns, ended_ns=time.monotonic_ns())


@post("/listen")
async def read_here(first: int, until: int) -> None:
    """Let the users of these numbers read in the program, without the last."""
    await _readers.begin(range(first, until))


@get("/health/ready", sync_to_thread=False)
def ready() -> None:
    """Says that the server answers."""


if __name__ == "__main__":
    application = Litestar([publish, read_here, ready, hub_router(_hub)], lifespan=[_node], openapi_config=None)
    listen(application, TransportProtocol)
