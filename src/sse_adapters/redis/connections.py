"""Connections to Redis, whether it is one server, one behind sentinels, or a cluster."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected

from sse_adapters.redis.errors import REDIS_ERRORS, UnusableRedis, usable_options
from sse_adapters.redis.server import RedisServer
from sse_adapters.redis.urls import Kind, RedisPlace, redis_place

TIMEOUT_SECONDS = 2.0

_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

Client = Redis | RedisCluster


class RedisConnections:
    """The way to the Redis that a URL names, for a hub whose keys and channels begin with `prefix`.

    `client` runs commands. It waits two seconds at most to connect, and as long for an answer; a connection that is
    found to have ended is replaced once. Whatever it raises is in `errors.REDIS_ERRORS`. Nothing is connected before it
    is used.

    `rediss` is TLS. A user and password are those of the servers that keep data; sentinels that ask for one are given
    `sentinel_username` and `sentinel_password`, which are query options, as are redis-py's that begin with `ssl_`.
    Raises UnusableRedis.
    """

    def __init__(self, url: str, prefix: str) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise UnusableRedis("what keys in Redis begin with must be 1 to 64 characters of A-Z a-z 0-9 _ . : -")
        place = redis_place(url)
        self.kind: str = place.kind.value
        self._prefix = prefix
        self._server = RedisServer.of(place.options)
        with usable_options():
            self._servers = _SERVERS[place.kind](place)
        self.client: Client = self._servers.client

    @property
    def sharded(self) -> bool:
        """Whether Pub/Sub is to be kept to the server of its channel: every server of a cluster would get it."""
        return isinstance(self.client, RedisCluster)

    def key(self, name: str) -> str:
        """A key or channel of this hub. All of them are in one hash slot, so that a script or a pipeline on several of
        them works on a cluster too."""
        return f"{{{self._prefix}}}:{name}"

    async def server_of(self, key: str) -> RedisServer:
        """The server that has this key or channel now, also after a failover or a move. Raises what is in
        REDIS_ERRORS."""
        if (found := await self._servers.find(key)) is None:
            return self._server
        host, port = found
        return replace(self._server, host=host, port=port)

    async def close(self) -> None:
        """Close the client's connections. Idempotent."""
        with suppress(*REDIS_ERRORS):
            await self._servers.close()


class _Servers(Protocol):
    """What differs between the kinds of Redis."""

    client: Client

    @abstractmethod
    async def find(self, key: str) -> tuple[str, int] | None:
        """Where the server is that has this key now; None where there is only one, which the URL names."""

    @abstractmethod
    async def close(self) -> None: ...


class _Single(_Servers):
    def __init__(self, place: RedisPlace) -> None:
        self.client = Redis.from_pool(ConnectionPool(**_pooled(place.options)))

    async def find(self, key: str) -> None:
        return None

    async def close(self) -> None:
        await self.client.aclose()


class _BehindSentinels(_Servers):
    def __init__(self, place: RedisPlace) -> None:
        self._service = place.service
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
            place.hosts,
            sentinel_kwargs=_with_tls_flag(_pooled(place.sentinels)),
            **_with_tls_flag(_pooled(place.options)),
        )
        self.client = self._sentinel.master_for(place.service)

    async def find(self, key: str) -> tuple[str, int]:
        host, port = await self._sentinel.discover_master(self._service)
        return host, port

    async def close(self) -> None:
        await self.client.aclose()
        await self._sentinel.aclose()


class _Cluster(_Servers):
    def __init__(self, place: RedisPlace) -> None:
        nodes = [ClusterNode(host, port) for host, port in place.hosts]
        self._cluster = RedisCluster(startup_nodes=nodes, **_with_tls_flag(_pooled(place.options)))
        self.client = self._cluster

    async def find(self, key: str) -> tuple[str, int]:
        # A command on the key makes the client learn who serves it, after a failover or a move too.
        await self._cluster.exists(key)
        if (node := self._cluster.get_node_from_key(key)) is None:
            raise Disconnected("no server of the cluster has the hub's keys")
        return node.host, int(node.port)

    async def close(self) -> None:
        await self._cluster.aclose()
        # A client that has lost its way takes itself for closed, while some of its connections are still open.
        for nodes in ("nodes_cache", "startup_nodes"):
            await self._cluster.nodes_manager.aclose(nodes)


_SERVERS: Mapping[Kind, type[_Single | _BehindSentinels | _Cluster]] = {
    Kind.SINGLE: _Single,
    Kind.SENTINEL: _BehindSentinels,
    Kind.CLUSTER: _Cluster,
}


def _pooled(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **options,
        "protocol": 2,
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 1, supported_errors=(Disconnected,)),
    }


def _with_tls_flag(options: dict[str, Any]) -> dict[str, Any]:
    """As the clients for sentinels and clusters are told that a connection is TLS."""
    options["ssl"] = options.pop("connection_class", Connection) is SSLConnection
    return options
