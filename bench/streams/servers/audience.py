"""Who is listening: shared by both baselines, so that they differ only in how a frame reaches its socket."""

import asyncio


class Listener:
    """One open stream: the payloads that it has not sent yet, and whoever waits for the next one."""

    __slots__ = ("_waiter", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None

    def put(self, payload: bytes) -> None:
        """Add a payload and wake the stream."""
        self._waiting.append(payload)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> list[bytes]:
        """All that has come since the last call, in order; waits until there is something."""
        if not self._waiting:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
            self._waiter = None
        taken, self._waiting = self._waiting, []
        return taken


class Audience:
    """All open streams of a process."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    def join(self) -> Listener:
        """Begin to listen."""
        listener = Listener()
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Stop listening."""
        self._listeners.discard(listener)

    def broadcast(self, payload: bytes) -> None:
        """Give every listener the payload; each sends it in a task of its own, after this has returned."""
        for listener in self._listeners:
            listener.put(payload)
