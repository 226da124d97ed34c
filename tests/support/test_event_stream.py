"""The stream client, over a real connection to a peer that says exactly what each test scripts."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.support.event_stream import StreamEndedError, open_stream

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


@asynccontextmanager
async def peer(script: Script) -> AsyncIterator[str]:
    """A server that reads one request's head and then does what `script` says; gives its base URL."""

    served: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        await script(reader, writer, request)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*served)


def saying(*pieces: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return script


async def test_it_tells_since_when_it_had_nothing_to_read() -> None:
    half_read, all_read = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        writer.write(HEAD + chunk(b"data: 1\n\nda"))
        await half_read.wait()
        writer.write(chunk(b"ta: 2\n\n"))
        await all_read.wait()
        writer.write(chunk(b"data: 3\n\n") + END)

    loop = asyncio.get_running_loop()
    async with peer(script) as base_url, open_stream(base_url) as stream:
        assert (await stream.next()).data == "1"
        for event, data in ((half_read, "2"), (all_read, "3")):
            begun = loop.time()
            frame = asyncio.create_task(stream.next())
            await asyncio.sleep(0)  # so that it waits
            event.set()
            assert (await frame).data == data
            waited = stream.waited_since is not None and stream.waited_since >= begun
            assert waited is (event is all_read), "what is half read was written before"


async def test_the_request_says_what_the_test_asked_for() -> None:
    requests: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        requests.append(request)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with peer(script) as base_url:
        params = {"user_id": "zoë & co", "group": ["a", "b"]}
        async with open_stream(base_url, "/s", params=params, headers={"X-A": "1"}, last_event_id="7-e") as stream:
            assert stream.status == 204
            assert stream.last_event_id == "7-e"
    lines = requests[0].decode().split("\r\n")
    assert lines[0] == "GET /s?user_id=zo%C3%AB+%26+co&group=a&group=b HTTP/1.1"
    assert {"Accept: text/event-stream", "X-A: 1", "Last-Event-ID: 7-e"} < set(lines)


async def test_frames_come_in_order_and_hidden_ones_are_kept() -> None:
    content = b"id: 1\n\n: beat\n\nevent: a\ndata: 1\n\ndata: 2\nid: 2\n\n"
    async with peer(saying(HEAD, chunk(content), END)) as base_url, open_stream(base_url) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        assert (await stream.next()).event == "a"
        assert (await stream.until(lambda frame: frame.id == "2")).data == "2"
        assert [frame.dispatched for frame in stream.frames] == [False, False, True, True]
        assert stream.last_event_id == "2"
        assert await stream.rest() == []
        assert stream.clean
        assert bytes(stream.raw) == HEAD + chunk(content) + END


async def test_an_ended_stream_gives_what_it_had_and_then_says_how_it_ended() -> None:
    async with peer(saying(HEAD + chunk(b"data: 1\n\n") + END)) as base_url, open_stream(base_url) as stream:
        assert (await stream.next()).data == "1"
        with pytest.raises(StreamEndedError) as ended:
            await stream.next()
        assert ended.value.clean


async def test_a_stream_that_is_cut_off_is_not_clean() -> None:
    cut_off = HEAD + chunk(b"data: 1\n\n") + b"9\r\ndata"
    async with peer(saying(cut_off)) as base_url, open_stream(base_url) as stream:
        assert [frame.data for frame in await stream.rest()] == ["1"]
        assert not stream.clean


async def test_a_connection_that_ends_before_the_response_is_told() -> None:
    async with peer(saying(b"HTTP/1.1 200")) as base_url:
        with pytest.raises(StreamEndedError, match="no response"):
            async with open_stream(base_url):
                pytest.fail("there is no stream to use")


async def test_a_refusal_can_be_read() -> None:
    refusal = b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 16\r\n\r\n{"code": "none"}'
    async with peer(saying(refusal)) as base_url, open_stream(base_url) as stream:
        assert stream.status == 401
        assert await stream.json() == {"code": "none"}


async def test_waiting_in_vain_fails_and_shows_what_came() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        writer.write(HEAD + chunk(b"data: seen\n\n"))
        await reader.read()

    async with peer(script) as base_url, open_stream(base_url) as stream:
        await stream.next()
        with pytest.raises(AssertionError, match="seen"):
            await stream.next(patience=0.01)


async def test_a_stream_that_is_not_read_stalls_the_peer_and_then_goes_on() -> None:
    frame = chunk(b"data: " + b"x" * 10_000 + b"\n\n")
    stalled = asyncio.Event()
    count = 100

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer.write(HEAD + frame * count)
        if writer.transport.get_write_buffer_size() > 500_000:
            stalled.set()
        await writer.drain()

    async with peer(script) as base_url, open_stream(base_url, receive_buffer=2048) as stream:
        await stalled.wait()
        assert len(await stream.rest()) == count


async def test_an_aborted_stream_resets_the_connection() -> None:
    outcome: asyncio.Future[BaseException | bytes] = asyncio.get_running_loop().create_future()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        writer.write(HEAD)
        try:
            outcome.set_result(await reader.read())
        except ConnectionError as error:
            outcome.set_result(error)

    async with peer(script) as base_url, open_stream(base_url) as stream:
        stream.abort()
        assert isinstance(await outcome, ConnectionResetError)


async def test_a_closed_stream_ends_the_connection() -> None:
    outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        writer.write(HEAD)
        outcome.set_result(await reader.read())

    async with peer(script) as base_url, open_stream(base_url) as stream:
        stream.close()
        assert await outcome == b""
