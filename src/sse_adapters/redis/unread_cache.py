"""Unread counts that all nodes of a hub share. They are only ever a short cut: who finds none counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from msgspec import DecodeError
from msgspec.msgpack import Decoder, Encoder

from sse_adapters.redis.connections import RedisConnections
from sse_adapters.redis.errors import RedisCalls
from sse_domain.errors import NodesUnavailable
from sse_domain.inbox import UnreadCounts, UnreadStamp
from sse_domain.ports import UnreadCache

KEPT_SECONDS = 3600
# Who asks for counts waits for this much longer when Redis hangs, and then not at all, until it is tried again.
ANSWER_SECONDS = 0.25
PAUSE_SECONDS = 5.0

# Raise it when UnreadStamp or UnreadCounts change: what nodes of another version have kept is then not taken for ours.
_VERSION: Literal[1] = 1

# A pipeline of as many commands would take redis-py ten times as long.
_KEEP = "for at, key in ipairs(KEYS) do redis.call('SET', key, ARGV[at + 1], 'EX', ARGV[1]) end"

_encode = Encoder().encode
_decoder = Decoder(tuple[Literal[1], UnreadStamp, UnreadCounts])

_T = TypeVar("_T")


class RedisUnreadCache(UnreadCache):
    """Keeps each user's for an hour, for all nodes of the hub that the connections are of.

    No call waits for more than `answer_seconds`; while Redis does not answer, in any five seconds no more do than had
    begun when that was found out, and one that tries again.
    """

    def __init__(self, connections: RedisConnections, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._client: Any = connections.client  # redis-py declares its methods for both kinds of client and of waiting
        self._keep = self._client.register_script(_KEEP)
        self._key = connections.key
        self._calls = RedisCalls(answer_seconds, "cache of unread counts")
        self._paused_until = 0.0

    async def get(self, user_ids: Sequence[str]) -> dict[str, tuple[UnreadStamp, UnreadCounts]]:
        keys = [self._key_of(user_id) for user_id in user_ids]
        raws = await self._tried(lambda: self._client.mget(keys)) if keys else None
        if raws is None:
            return {}
        kept = ((user_id, _decoded(raw)) for user_id, raw in zip(user_ids, raws, strict=True))
        return {user_id: what for user_id, what in kept if what}

    async def put(self, counted: Mapping[str, tuple[UnreadStamp, UnreadCounts]]) -> None:
        keys = [self._key_of(user_id) for user_id in counted]
        values = [_encode((_VERSION, stamp, counts)) for stamp, counts in counted.values()]
        if keys:
            await self._tried(lambda: self._keep(keys, (KEPT_SECONDS, *values)))

    def _key_of(self, user_id: str) -> str:
        return self._key(f"unread:{user_id}")

    async def _tried(self, call: Callable[[], Awaitable[_T]]) -> _T | None:
        """None without an answer."""
        now = asyncio.get_running_loop().time
        if now() < self._paused_until:
            return None
        if not self._calls.answered:
            self._paused_until = now() + PAUSE_SECONDS  # for all others, while this one tries
        try:
            async with self._calls.limited():
                answer = await call()
        except NodesUnavailable:
            self._paused_until = now() + PAUSE_SECONDS
            return None
        self._paused_until = 0.0
        return answer


def _decoded(raw: bytes | None) -> tuple[UnreadStamp, UnreadCounts] | None:
    """None also for what another version has kept, or whoever else."""
    if raw is None:
        return None
    try:
        _, stamp, counts = _decoder.decode(raw)
    except DecodeError:
        return None
    return stamp, counts
