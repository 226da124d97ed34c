"""A TCP proxy on loopback that does to its connections what networks do, when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy import URL, make_url

from tests.support.commit_replies import Conversation, MySqlConversation, PostgresConversation
from tests.support.ports import free_port

_CHUNK = 65_536
_CONVERSATIONS: dict[str, Callable[[], Conversation]] = {
    "postgresql": PostgresConversation,
    "mysql": MySqlConversation,
}


class TcpProxy:
    """Listens on a port of 127.0.0.1, which it keeps, and relays each connection to the server.

    Only with a `conversation` does it understand what is said, which `drop_commit_reply` takes.
    """

    def __init__(self, host: str, port: int, conversation: Callable[[], Conversation] | None = None) -> None:
        self.port = free_port()
        self._server_address = (host, port)
        self._conversation = conversation
        self._listener: asyncio.Server | None = None
        self._relays: set[_Relay] = set()
        self._failures: list[Exception] = []
        self._delay_seconds = 0.0
        self._flows = asyncio.Event()
        self._flows.set()
        self._drops_commit_reply = False
        self._commit_dropped = asyncio.Event()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._relays)

    def cut(self) -> None:
        """End all connections; what was under way is lost. New ones are served."""
        for relay in list(self._relays):
            relay.cut()

    def refuse(self) -> None:
        """Refuse new connections, as where nothing listens. Those that exist go on."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def blackhole(self) -> None:
        """Accept connections and bytes, pass nothing on, in no direction: not even that somebody has closed."""
        self._flows.clear()

    def delay(self, seconds: float) -> None:
        """Keep whatever comes for at least so long, in each direction, before it is passed on."""
        self._delay_seconds = seconds

    async def heal(self) -> None:
        """Serve again without a fault. What a black hole has kept arrives."""
        self._delay_seconds = 0.0
        self._drops_commit_reply = False
        self._flows.set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    def drop_commit_reply(self) -> None:
        """Let the next COMMIT that succeeds, on any connection, do so; discard the reply and end that connection.

        Its client can't know that its transaction has been committed. A COMMIT that fails is told as ever.
        """
        if self._conversation is None:
            raise RuntimeError("this proxy doesn't understand what is said")
        self._commit_dropped.clear()
        self._drops_commit_reply = True

    async def commit_dropped(self) -> None:
        """Wait for what `drop_commit_reply` has announced: then the transaction is in the database."""
        await self._commit_dropped.wait()

    async def close(self) -> None:
        """End everything. What has failed in the proxy itself is raised here."""
        self.refuse()
        relays = [relay.task for relay in self._relays]
        self.cut()
        await asyncio.gather(*relays, return_exceptions=True)
        if self._failures:
            raise ExceptionGroup("the proxy has failed", self._failures)

    async def _passage(self) -> None:
        """What bytes go through on their way."""
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds)
        await self._flows.wait()

    def _drops(self) -> bool:
        """Whether to drop this reply to a COMMIT; only the first to ask is told so."""
        dropped, self._drops_commit_reply = self._drops_commit_reply, False
        return dropped

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = _Relay(self, reader, writer)
        self._relays.add(relay)

        def ended(task: asyncio.Task[None]) -> None:
            self._relays.discard(relay)
            if not task.cancelled() and isinstance(failure := task.exception(), Exception):
                self._failures.append(failure)

        relay.task.add_done_callback(ended)


class _Relay:
    """One client's connection and its connection to the server."""

    def __init__(self, proxy: TcpProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client_reader = reader
        self._client = writer
        self._server: asyncio.StreamWriter | None = None
        self._conversation = proxy._conversation() if proxy._conversation else None
        self.task = asyncio.create_task(self._run())

    def cut(self) -> None:
        self.task.cancel()
        self._abort()

    def _abort(self) -> None:
        for writer in (self._client, self._server):
            if writer is not None:
                writer.transport.abort()

    async def _run(self) -> None:
        try:
            server_reader, self._server = await asyncio.open_connection(*self._proxy._server_address)
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._pass_questions(self._server))
                directions.create_task(self._pass_replies(server_reader))
            for writer in (self._client, self._server):
                writer.close()
                await writer.wait_closed()
        except* (OSError, _Dropped):
            pass
        finally:
            self._abort()

    async def _pass_questions(self, server: asyncio.StreamWriter) -> None:
        while received := await self._client_reader.read(_CHUNK):
            await self._proxy._passage()
            answer = b""
            if self._conversation is not None:
                received, answer = self._conversation.ask(received)
            if answer:  # only at the beginning: later the server may have said its last word to the client
                self._client.write(answer)
            server.write(received)
            await server.drain()
        await self._end(server)

    async def _pass_replies(self, server_reader: asyncio.StreamReader) -> None:
        while received := await server_reader.read(_CHUNK):
            await self._proxy._passage()
            if self._conversation is None:
                self._client.write(received)
            else:
                for message, commits in self._conversation.reply(received):
                    if commits and self._proxy._drops():
                        self._client.transport.abort()
                        self._proxy._commit_dropped.set()
                        raise _Dropped
                    self._client.write(message)
            await self._client.drain()
        await self._end(self._client)

    async def _end(self, other: asyncio.StreamWriter) -> None:
        """One side will say no more: tell the other, which may have something left to say."""
        await self._proxy._passage()
        other.write_eof()


class _Dropped(Exception):
    """The connection has been ended, in both directions, by a fault."""


@asynccontextmanager
async def run_proxy(
    url: URL | str, conversation: Callable[[], Conversation] | None = None
) -> AsyncIterator[tuple[TcpProxy, str]]:
    """A proxy before the server of this database, or this Redis, and its URL through it; closed at the end of the
    block. It understands what is said by `conversation`, or else as that database's clients and servers do.
    """
    target = make_url(url)
    assert target.host is not None
    assert target.port is not None
    proxy = TcpProxy(target.host, target.port, conversation or _CONVERSATIONS.get(target.get_backend_name()))
    try:
        await proxy.heal()
        yield proxy, target.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    finally:
        await proxy.close()
