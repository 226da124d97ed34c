"""A Redis server to which a connection of one's own can be made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any, TypeVar

from redis.asyncio.connection import Connection, SSLConnection

from sse_adapters.redis.errors import usable_options

P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """`path` is that of its socket, if it has one, else it is found by host and port."""

    host: str
    port: int
    path: str | None
    tls: SSLContext | None
    hello: tuple[str, ...] = field(repr=False)  # with a password

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> RedisServer:
        """What redis-py's keyword arguments for a connection say. Raises UnusableRedis."""
        options = {**options}
        options.pop("max_connections", None)
        made = options.pop("connection_class", Connection)
        with usable_options():
            # Not to be connected: it finds what is wrong with options and files, which is to be known at the start.
            connection = made(**options)
            tls = connection.ssl_context.get() if isinstance(connection, SSLConnection) else None
        return cls(
            host=options.get("host", "localhost"),
            port=options.get("port", 6379),
            path=options.get("path"),
            tls=tls,
            hello=_hello(options),
        )

    async def connect(self, make: Callable[[], P]) -> P:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        if self.path is not None:
            _, protocol = await loop.create_unix_connection(make, self.path)
        else:
            _, protocol = await loop.create_connection(make, self.host, self.port, ssl=self.tls)
        return protocol


def _hello(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The command that begins a connection in RESP3, which lets a connection that is subscribed send commands too."""
    username, password = options.get("username"), options.get("password")
    login = ("AUTH", username or "default", password or "") if username or password else ()
    return ("HELLO", "3", *login, "SETNAME", options.get("client_name", "sse-hub"))
