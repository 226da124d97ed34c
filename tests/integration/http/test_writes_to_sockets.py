"""A fan-out goes to the sockets of streams, past transports that have nothing waiting. With real ones."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from sse_adapters.http.frames import LAST_CHUNK, BatchEncoder, MessageBatch, chunk_of, message_frame
from sse_adapters.http.transport_writer import TransportFrameWriter
from tests.unit.http.one_stream import MESSAGE, RETRY_MS

LARGE = b'"%s"' % (b"x" * 3000)

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on one kind of event loop."""
    runner: Run = request.param
    return runner


class Reader:
    """A writer over a connection, and the other end of that."""

    def __init__(self, writer: TransportFrameWriter, end: socket.socket, lost: asyncio.Event) -> None:
        self.writer = writer
        self.end = end
        self.lost = lost
        self.drained = asyncio.Event()
        writer.drained = self.drained.set

    def arrived(self) -> bytes:
        """What has come until now, without a turn of the event loop."""
        try:
            return self.end.recv(1 << 20)
        except BlockingIOError:
            return b""

    def waiting(self) -> int:
        return self.writer._transport.get_write_buffer_size()

    async def read(self, size: int) -> bytes:
        taken = b""
        while len(taken) < size:
            taken += await asyncio.get_running_loop().sock_recv(self.end, size - len(taken))
        return taken


@asynccontextmanager
async def reading(encoder: BatchEncoder | None = None) -> AsyncIterator[Reader]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    lost = asyncio.Event()

    def hand_over(protocol: TransportFrameWriter) -> tuple[asyncio.Transport, Callable[[object], object]]:
        transport.set_protocol(protocol)
        return transport, lambda _: lost.set()

    reader = Reader(TransportFrameWriter(encoder or BatchEncoder(), RETRY_MS, hand_over), theirs, lost)
    try:
        yield reader
    finally:
        transport.abort()
        await lost.wait()
        theirs.close()


def a_batch(number: int, data: bytes = b"1") -> MessageBatch:
    return [(MESSAGE._replace(data=data), f"{number}-e")]


def chunk(batch: MessageBatch) -> bytes:
    return chunk_of(b"".join(message_frame(message, cursor) for message, cursor in batch))


def give(readers: Sequence[Reader], batch: MessageBatch) -> Sequence[tuple[TransportFrameWriter, Exception | None]]:
    return list(TransportFrameWriter.give_all([reader.writer for reader in readers], batch))


def test_it_has_arrived_before_the_event_loop_turns(run: Run) -> None:
    async def scenario() -> None:
        encoder = BatchEncoder()
        async with reading(encoder) as one, reading(encoder) as other:
            assert give([one, other], a_batch(1)) == []
            assert (one.arrived(), other.arrived()) == (chunk(a_batch(1)), chunk(a_batch(1)))

    run(scenario())


def test_it_goes_behind_what_waits_in_the_transport(run: Run) -> None:
    async def scenario() -> None:
        async with reading() as reader:
            given: list[MessageBatch] = []
            while not reader.waiting():
                given.append(a_batch(len(given), LARGE))
                assert give([reader], given[-1]) == []
            taken = reader.arrived()
            assert taken, "there is room again, and the transport has not had its turn"
            given += [a_batch(1), a_batch(2)]
            assert [give([reader], batch) for batch in given[-2:]] == [[], []]
            expected = b"".join(map(chunk, given))
            assert taken + await reader.read(len(expected) - len(taken)) == expected

    run(scenario())


def test_it_goes_behind_what_a_transport_was_given_for_one_stream_alone(run: Run) -> None:
    async def scenario() -> None:
        async with reading() as reader:
            assert give([reader], a_batch(0)) == []
            given = [a_batch(0)]
            while not reader.waiting():
                given.append(a_batch(len(given), LARGE))
                reader.writer.give(given[-1])
            taken = reader.arrived()
            given.append(a_batch(1))
            assert give([reader], given[-1]) == []
            expected = b"".join(map(chunk, given))
            assert taken + await reader.read(len(expected) - len(taken)) == expected

    run(scenario())


def test_a_reader_that_takes_nothing_blocks_and_then_gets_it_all(run: Run) -> None:
    async def scenario() -> None:
        encoder = BatchEncoder()
        async with reading(encoder) as reader, reading(encoder) as other:
            given: list[MessageBatch] = []
            told: Sequence[tuple[TransportFrameWriter, Exception | None]] = []
            while not told:
                assert not reader.writer.blocked
                given.append(a_batch(len(given), LARGE))
                told = give([reader, other], given[-1])
                assert other.arrived() == chunk(given[-1])
            assert told == [(reader.writer, None)]
            expected = b"".join(map(chunk, given))
            assert await reader.read(len(expected)) == expected
            await reader.drained.wait()
            assert give([reader], a_batch(1)) == []
            assert reader.arrived() == chunk(a_batch(1))

    run(scenario())


def test_of_what_does_not_fit_the_rest_follows(run: Run) -> None:
    async def scenario() -> None:
        async with reading() as reader:
            huge = a_batch(1, b'"%s"' % (b"x" * 1_000_000))
            assert give([reader], huge) == [(reader.writer, None)]
            assert await reader.read(len(chunk(huge))) == chunk(huge)

    run(scenario())


def test_a_reader_that_has_left_keeps_nothing_from_the_others(run: Run) -> None:
    async def scenario() -> None:
        encoder = BatchEncoder()
        async with reading(encoder) as gone, reading(encoder) as other:
            gone.end.close()
            assert give([gone, other], a_batch(1)) == []
            assert other.arrived() == chunk(a_batch(1))
            await gone.lost.wait()

    run(scenario())


def test_the_number_of_a_socket_that_is_closed_may_be_another_connections(run: Run) -> None:
    async def scenario() -> None:
        async with reading() as ended:
            assert give([ended], a_batch(1)) == []
            number = ended.writer._socket
            ended.end.close()
            await ended.lost.wait()
            await asyncio.sleep(0)  # a transport closes its socket after it has told
            one, other = socket.socketpair()
            with one, other:
                assert number in (one.fileno(), other.fileno())
                give([ended], a_batch(2))
                for end in (one, other):
                    end.setblocking(False)
                    with pytest.raises(BlockingIOError):
                        end.recv(1)

    run(scenario())


def test_one_that_is_closed_from_this_side_is_given_nothing_more(run: Run) -> None:
    async def scenario() -> None:
        async with reading() as reader:
            assert give([reader], a_batch(1)) == []
            reader.writer.close("shutdown", reconnect=True)
            give([reader], a_batch(2))
            await reader.lost.wait()
            taken = reader.arrived()
            assert taken.startswith(chunk(a_batch(1)))
            assert taken.endswith(LAST_CHUNK)

    run(scenario())
