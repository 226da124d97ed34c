"""The proxy's faults, before a server that echoes and before real databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.support.commit_replies import Conversation, MySqlConversation, PostgresConversation
from tests.support.databases import KINDS, fresh_database
from tests.support.sql import query
from tests.support.tcp_proxy import TcpProxy, run_proxy
from tests.unit.domain.profile import PROPERTY

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while received := await reader.read(1000):
        writer.write(received)
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[TcpProxy]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        proxy = TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1])
        await proxy.heal()
        yield proxy
        await proxy.close()


async def connect(proxy: TcpProxy) -> Streams:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def ask(streams: Streams, words: bytes) -> bytes:
    reader, writer = streams
    writer.write(words)
    return await reader.readexactly(len(words))


async def is_ended(streams: Streams) -> bool:
    """Waits for the end of the connection, in order or not; whether nothing came before it."""
    try:
        return await streams[0].read() == b""
    except ConnectionResetError:
        return True


async def close(streams: Streams) -> None:
    streams[1].close()
    with suppress(ConnectionError):
        await streams[1].wait_closed()


async def test_without_a_fault_everything_arrives_and_an_end_too(proxy: TcpProxy) -> None:
    client = await connect(proxy)
    much = bytes(300_000)
    assert await ask(client, much) == much
    assert proxy.connections == 1
    client[1].write(b"last words")
    client[1].write_eof()
    assert await client[0].read() == b"last words"
    await close(client)


async def test_a_cut_ends_every_connection_and_no_later_one(proxy: TcpProxy) -> None:
    one, other = await connect(proxy), await connect(proxy)
    assert [await ask(one, b"one"), await ask(other, b"other")] == [b"one", b"other"]
    proxy.cut()
    assert [await is_ended(one), await is_ended(other)] == [True, True]
    later = await connect(proxy)
    assert await ask(later, b"later") == b"later"
    for client in (one, other, later):
        await close(client)


async def test_what_refuses_lets_nobody_in_until_it_is_healed(proxy: TcpProxy) -> None:
    before = await connect(proxy)
    assert await ask(before, b"before") == b"before"
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    assert await ask(before, b"goes on") == b"goes on"
    await proxy.heal()
    after = await connect(proxy)
    assert await ask(after, b"after") == b"after"
    await close(before)
    await close(after)


async def test_a_black_hole_accepts_and_keeps_all_until_it_is_healed(proxy: TcpProxy) -> None:
    before = await connect(proxy)
    assert await ask(before, b"before") == b"before"
    proxy.blackhole()
    after = await connect(proxy)
    answers = [asyncio.create_task(ask(client, b"anybody?")) for client in (before, after)]
    answered, _ = await asyncio.wait(answers, timeout=0.1)
    assert answered == set()
    await proxy.heal()
    assert await asyncio.gather(*answers) == [b"anybody?", b"anybody?"]
    await close(before)
    await close(after)


async def test_connections_in_a_black_hole_can_be_cut(proxy: TcpProxy) -> None:
    client = await connect(proxy)
    assert await ask(client, b"before") == b"before"
    proxy.blackhole()
    client[1].write(b"anybody?")
    proxy.cut()
    assert await is_ended(client)
    await close(client)


async def test_a_delay_counts_in_each_direction(proxy: TcpProxy) -> None:
    client = await connect(proxy)
    proxy.delay(0.05)
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    assert await ask(client, b"slow") == b"slow"
    assert loop.time() - asked_at >= 0.1
    await close(client)


async def test_a_server_that_is_down_ends_its_clients_connections(proxy: TcpProxy) -> None:
    nobody = TcpProxy("127.0.0.1", proxy.port)
    proxy.refuse()
    await nobody.heal()
    client = await connect(nobody)
    assert await is_ended(client)
    await close(client)
    await nobody.close()


@pytest.fixture(params=KINDS)
async def database(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    async with fresh_database(request.param) as url:
        await query(url, "CREATE TABLE note (number INT)")
        yield url


async def insert(engine: AsyncEngine, number: int) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO note VALUES (:number)"), {"number": number})


async def numbers(database: str) -> list[int]:
    return [number for (number,) in await query(database, "SELECT number FROM note ORDER BY number")]


async def test_a_transaction_whose_commit_reply_is_dropped_has_been_committed(database: str) -> None:
    async with run_proxy(database) as (proxy, url):
        engine = create_async_engine(url)
        await insert(engine, 1)
        proxy.drop_commit_reply()
        with pytest.raises(DBAPIError) as lost:
            await insert(engine, 2)
        assert lost.value.connection_invalidated
        await proxy.commit_dropped()
        assert await numbers(database) == [1, 2]
        # That was one commit; the next is another's, or the same one's second attempt.
        await insert(engine, 3)
        assert await numbers(database) == [1, 2, 3]
        await engine.dispose()


async def test_other_connections_go_on_while_one_loses_its_commit_reply(database: str) -> None:
    async with run_proxy(database) as (proxy, url):
        engine = create_async_engine(url)
        async with engine.connect() as other:
            await other.exec_driver_sql("INSERT INTO note VALUES (1)")
            proxy.drop_commit_reply()
            with pytest.raises(DBAPIError):
                await insert(engine, 2)
            await other.commit()
        assert await numbers(database) == [1, 2]
        await engine.dispose()


async def test_a_commit_sent_as_a_prepared_statement_is_one_too() -> None:
    async with fresh_database("postgresql") as database, run_proxy(database) as (proxy, url):
        await query(database, "CREATE TABLE note (number INT)")
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.exec_driver_sql("BEGIN")
            await connection.exec_driver_sql("INSERT INTO note VALUES (1)")
            proxy.drop_commit_reply()
            with pytest.raises(DBAPIError):
                await connection.exec_driver_sql("COMMIT")
        await proxy.commit_dropped()
        assert await numbers(database) == [1]
        await engine.dispose()


async def test_a_commit_that_fails_is_told_and_the_next_that_succeeds_is_not() -> None:
    async with fresh_database("postgresql") as database, run_proxy(database) as (proxy, url):
        await query(database, "CREATE TABLE note (number INT UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        engine = create_async_engine(url)
        await insert(engine, 1)
        proxy.drop_commit_reply()
        with pytest.raises(DBAPIError) as refused:
            await insert(engine, 1)
        assert not refused.value.connection_invalidated
        with pytest.raises(DBAPIError) as lost:
            await insert(engine, 2)
        assert lost.value.connection_invalidated
        await proxy.commit_dropped()
        assert await numbers(database) == [1, 2]
        await engine.dispose()


def postgres(kind: bytes, body: bytes) -> bytes:
    return kind + (4 + len(body)).to_bytes(4) + body


def mysql(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


POSTGRES_ASKS_TO_ENCRYPT = (8).to_bytes(4) + (80877103).to_bytes(4)
POSTGRES_START = (16).to_bytes(4) + (196608).to_bytes(4) + b"user\0me\0"
POSTGRES_REPLIES = [
    postgres(b"C", b"INSERT 0 1\0"),
    postgres(b"D", b"COMMIT\0"),
    postgres(b"C", b"COMMIT\0"),
    postgres(b"C", b"ROLLBACK\0"),
    postgres(b"Z", b"I"),
]


def replies(conversation: Conversation, said: bytes, cuts: set[int]) -> list[tuple[bytes, bool]]:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(said)), len(said)]
    pieces = [said[begin:end] for begin, end in pairwise(bounds)]
    return [reply for piece in pieces for reply in conversation.reply(piece)]


@settings(PROPERTY)
@given(cuts=st.sets(st.integers(min_value=1, max_value=80)))
def test_a_commit_of_postgresql_is_known_however_its_bytes_are_split(cuts: set[int]) -> None:
    read = replies(PostgresConversation(), b"".join(POSTGRES_REPLIES), cuts)
    assert read == [(message, number == 2) for number, message in enumerate(POSTGRES_REPLIES)]


@settings(PROPERTY)
@given(cut=st.integers(min_value=0, max_value=32))
def test_a_client_that_asks_for_encryption_is_told_that_there_is_none(cut: int) -> None:
    said = POSTGRES_ASKS_TO_ENCRYPT + POSTGRES_START + b"QCOM"
    conversation = PostgresConversation()
    passed = [conversation.ask(piece) for piece in (said[:cut], said[cut:])]
    assert b"".join(forward for forward, _ in passed) == POSTGRES_START + b"QCOM"
    assert b"".join(answer for _, answer in passed) == b"N"


@pytest.mark.parametrize(
    ("command", "reply", "commits"),
    [
        (b"\x03COMMIT", b"\0\0\0\2\0\0\0", True),
        (b"\x03 commit;", b"\0\0\0\2\0\0\0", True),
        (b"\x03COMMIT", b"\xff\xbd\x04#40001Deadlock", False),
        (b"\x03COMMITTED", b"\0\0\0\2\0\0\0", False),
        (b"\x03ROLLBACK", b"\0\0\0\2\0\0\0", False),
        (b"\x16COMMIT", b"\0\0\0\2\0\0\0", False),
    ],
)
def test_a_commit_of_mysql_is_a_command_that_is_answered_with_ok(command: bytes, reply: bytes, commits: bool) -> None:
    for cut in range(len(mysql(0, command))):
        conversation = MySqlConversation()
        said = mysql(0, command)
        assert [conversation.ask(piece) for piece in (said[:cut], said[cut:])] == [(said[:cut], b""), (said[cut:], b"")]
        answered = mysql(1, reply)
        assert replies(conversation, answered, {cut} - {0}) == [(answered, commits)]
        # The next reply is to another command.
        assert replies(conversation, mysql(1, b"\0\0\0"), set()) == [(mysql(1, b"\0\0\0"), False)]


def test_what_only_looks_like_a_command_of_mysql_is_none() -> None:
    conversation = MySqlConversation()
    conversation.ask(mysql(1, b"\x03COMMIT"))
    assert replies(conversation, mysql(2, b"\0\0\0"), set()) == [(mysql(2, b"\0\0\0"), False)]
