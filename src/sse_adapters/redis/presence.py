"""Presence in Redis: what each node says of itself is under keys that end with its lease.

The scripts beside this file write, and say what is kept and why. Reading needs no script but one: the other nodes are
looked up, and then their keys, in pages, so that no question holds Redis up, however many are connected.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge
from importlib.resources import files
from itertools import chain, islice
from math import ceil
from typing import Any, TypeVar

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder, Encoder

from sse_adapters.redis.connections import TIMEOUT_SECONDS, RedisConnections
from sse_adapters.redis.errors import RedisCalls
from sse_domain.ports import Presence
from sse_domain.presence import Audiences, ClientInfo, Members, NodeReport

# How much one call asks for, which is a few milliseconds of Redis at most. A connection has two entries in the index,
# and two more for each group.
_ENTRIES_AT_ONCE = 1500
_GONE_AT_ONCE = 100
_USERS_AT_ONCE = 200
_PAGE = 1000
# Counting everyone takes its time, mostly on this node. Where more than so many are connected elsewhere, an answer
# serves for so many times as long as it took.
_COUNTED_AFRESH = 10_000
_SERVES_TIMES = 10

_FIRST_INSTANT = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SINCE_DIGITS = 15

_T = TypeVar("_T")
_Arguments = list[bytes | str | int]


class _Who(Struct, array_like=True, frozen=True):
    """What is kept of a connection begins with this."""

    client_id: str
    user_id: str | None
    groups: Sequence[str]


class _Kept(_Who, array_like=True, frozen=True):
    """The script reads it as far as `since`, and can't read bytes, nor times. Nodes of other versions read it too: add
    only at the end, with a default."""

    since: str
    event_types: Sequence[str] | None
    state: str


_encode = Encoder().encode
_reports = Decoder(NodeReport)
_whos = Decoder(_Who)
_everything = Decoder(_Kept)


class RedisPresence(Presence):
    """Of one node of the hub that the connections are of.

    It waits `answer_seconds` at most for an answer of Redis, of which a call may take several. `audiences` may be as
    old as some seconds where more than ten thousand are connected.
    """

    def __init__(self, connections: RedisConnections, node_id: str, *, answer_seconds: float = TIMEOUT_SECONDS) -> None:
        self._client: Any = connections.client  # redis-py declares its methods for both kinds of client and of waiting
        self._calls = RedisCalls(answer_seconds, "knowledge of other nodes")
        self._node_id = node_id
        self._nodes = connections.key("nodes")
        self._renew_script = self._client.register_script(_source("presence_renew.lua"))
        self._change_script = self._client.register_script(_source("presence_change.lua"))
        self._users_script = self._client.register_script(_source("presence_users.lua"))
        # What the scripts know a node by; and changes are sent one after the other, for them to come in order.
        self._incarnation = secrets.token_bytes(8)
        self._used = self._applied = 0
        self._change_turn = asyncio.Lock()
        self._count_turn = asyncio.Lock()
        self._count: tuple[Audiences, float] | None = None  # and until when it serves

    async def renew(self, report: NodeReport, lease_seconds: float) -> bool:
        keys = (self._nodes, self._clients(self._node_id), self._index(self._node_id))
        lease = ceil(lease_seconds * 1000)
        said = (self._node_id, self._incarnation, self._applied, self._used, _encode(report), lease)
        async with self._calls.limited():
            return bool(await self._renew_script(keys, said))

    async def change(self, opened: Sequence[ClientInfo], closed: Sequence[str]) -> None:
        gone = dict.fromkeys(closed)
        there = {info.connection_id: info for info in opened if info.connection_id not in gone}
        keys = (self._clients(self._node_id), self._index(self._node_id))
        async with self._change_turn:
            for what in chain(_parts_gone(list(gone)), _parts_there(there.values())):
                self._used = number = self._used + 1
                async with self._calls.limited():
                    await self._change_script(keys, (self._incarnation, number, *what))
                self._applied = number

    async def nodes(self) -> list[NodeReport]:
        said = await self._ask([("HGET", self._clients(node), "\0report") for node in await self._others()])
        reports = [report for raw in said if (report := _decoded(_reports, raw))]
        return sorted(reports, key=lambda report: report.node_id)

    async def users(self, user_ids: Sequence[str]) -> dict[str, int]:
        indexes = [self._index(node) for node in await self._others()]
        found: dict[str, int] = {}
        for users in _in_parts(user_ids, _USERS_AT_ONCE) if indexes else ():
            async with self._calls.limited():
                counts = await self._users_script(indexes, users)
            found.update((user, count) for user, count in zip(users, counts, strict=True) if count)
        return found

    async def group(self, group: str, limit: int) -> Members:
        nodes = await self._others()
        clients = await self._names(nodes, f"g\0{group}\0c\0", limit)
        return Members(clients, await self._names(nodes, f"g\0{group}\0u\0", limit))

    async def clients(self, user_id: str | None, limit: int) -> list[ClientInfo]:
        nodes = await self._others()
        prefix, beyond = ("t", "u") if user_id is None else (f"u\0{user_id}\0", f"u\0{user_id}\1")
        asked = [("ZRANGEBYLEX", self._index(node), f"[{prefix}", f"({beyond}", "LIMIT", 0, limit) for node in nodes]
        start = len(prefix.encode())
        listed = zip(nodes, await self._ask(asked), strict=True)
        by_age = [[(entry[start:], node) for entry in entries] for node, entries in listed]
        oldest = [(node, entry[_SINCE_DIGITS:]) for entry, node in islice(merge(*by_age), limit)]
        wanted: dict[str, list[bytes]] = {}
        for node, connection in oldest:
            wanted.setdefault(node, []).append(connection)
        answers = await self._ask([("HMGET", self._clients(node), *wanted[node]) for node in wanted])
        kept = {node: dict(zip(wanted[node], raws, strict=True)) for node, raws in zip(wanted, answers, strict=True)}
        # Who has gone between the questions is left out.
        found = [(connection, _decoded(_everything, kept[node][connection])) for node, connection in oldest]
        return [_info(connection.decode(), what) for connection, what in found if what]

    async def audiences(self, clients: Collection[str], users: Collection[str], groups: Collection[str]) -> Audiences:
        now = asyncio.get_running_loop().time
        async with self._count_turn:
            began = now()
            if self._count and began < self._count[1]:
                return self._count[0]
            connections = 0
            all_clients, all_users, all_groups = set[str](), set[str | None](), set[str]()
            for node in await self._others():
                async for page in self._everyone(node):
                    connections += len(page)
                    for who in page:
                        all_clients.add(who.client_id)
                        all_users.add(who.user_id)
                        all_groups.update(who.groups)
            all_clients.update(clients)
            all_users.update(users)
            all_users.discard(None)
            all_groups.update(groups)
            count = Audiences(len(all_clients), len(all_users), len(all_groups))
            if connections > _COUNTED_AFRESH:
                self._count = count, now() + _SERVES_TIMES * (now() - began)
            return count

    def _clients(self, node_id: str) -> str:
        return f"{self._nodes}:{node_id}:clients"

    def _index(self, node_id: str) -> str:
        return f"{self._nodes}:{node_id}:index"

    async def _others(self) -> list[str]:
        """The other nodes. The keys of one whose lease has ended may not be there any more."""
        async with self._calls.limited():
            nodes = await self._client.zrange(self._nodes, 0, -1)
        return [node_id for node in nodes if (node_id := node.decode()) != self._node_id]

    async def _ask(self, commands: Collection[tuple[object, ...]]) -> list[Any]:
        """The answers to some commands, which are sent all at once."""
        if not commands:
            return []
        async with self._calls.limited(), self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            answers: list[Any] = await pipeline.execute()
        return answers

    async def _names(self, nodes: Collection[str], prefix: str, limit: int) -> list[str]:
        """What follows this prefix in the nodes' indexes up to the next \\0: the first, by code point, each once."""
        begin, beyond = f"[{prefix}".encode(), f"({prefix[:-1]}\1".encode()
        start, page = len(begin) - 1, min(limit, _PAGE)
        after, names = b"", list[bytes]()
        while len(names) < limit:
            asked = [("ZRANGEBYLEX", self._index(node), begin + after, beyond, "LIMIT", 0, page) for node in nodes]
            pages = [[entry[start : entry.index(0, start)] for entry in entries] for entries in await self._ask(asked)]
            # A full page may go on: all names are known up to where the first of such pages ends.
            end = min((found[-1] for found in pages if len(found) == page), default=None)
            names += sorted({name for found in pages for name in found if end is None or name <= end})
            if end is None:
                break
            after = end + b"\1"
        return [name.decode() for name in names[:limit]]

    async def _everyone(self, node_id: str) -> AsyncIterator[list[_Who]]:
        """All connections of a node, in pages; one may come twice while others come and go."""
        cursor = 0
        while True:
            async with self._calls.limited():
                cursor, found = await self._client.hscan(self._clients(node_id), cursor, count=_PAGE)
            kept = (raw for connection, raw in found.items() if not connection.startswith(b"\0"))
            yield [who for raw in kept if (who := _decoded(_whos, raw))]
            if cursor == 0:
                return


def _source(script: str) -> str:
    return (files(__package__) / script).read_text(encoding="utf-8")


def _packed(info: ClientInfo) -> bytes:
    since = f"{(info.connected_at - _FIRST_INSTANT) // _MICROSECOND:0{_SINCE_DIGITS}x}"
    return _encode(_Kept(info.client_id, info.user_id, info.groups, since, info.event_types, info.state))


def _info(connection_id: str, kept: _Kept) -> ClientInfo:
    return ClientInfo(
        connection_id=connection_id,
        client_id=kept.client_id,
        user_id=kept.user_id,
        groups=kept.groups,
        event_types=kept.event_types,
        state=kept.state,
        connected_at=_FIRST_INSTANT + int(kept.since, 16) * _MICROSECOND,
    )


def _decoded(decoder: Decoder[_T], raw: bytes | None) -> _T | None:
    """None for what is not there, or was put there by a version that this one does not understand."""
    if raw is None:
        return None
    try:
        return decoder.decode(raw)
    except DecodeError:
        return None


def _in_parts(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _parts_gone(connection_ids: Sequence[str]) -> Iterator[_Arguments]:
    """What the script takes about these, in parts."""
    return ([len(part), *part] for part in _in_parts(connection_ids, _GONE_AT_ONCE))


def _parts_there(infos: Iterable[ClientInfo]) -> Iterator[_Arguments]:
    part: _Arguments = [0]
    entries = 0
    for info in infos:
        part += (info.connection_id, _packed(info))
        entries += 2 + 2 * len(info.groups)
        if entries >= _ENTRIES_AT_ONCE:
            yield part
            part, entries = [0], 0
    if entries:
        yield part
