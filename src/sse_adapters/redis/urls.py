"""What a URL says of a Redis: of which kind it is, where, and how it is connected to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from redis.asyncio.connection import parse_url

from sse_adapters.redis.errors import UnusableRedis

EXAMPLES = (
    "redis://localhost:6379/0, rediss://user:password@redis.example:6379, unix:///run/redis.sock, "
    "redis+sentinel://one:26379,two:26379/service or redis+cluster://one:6379,two:6379"
)

# redis-py knows more options. Those that change what is answered, or how long is waited, are not the URL's to set.
_OPTIONS = re.compile("db|username|password|client_name|max_connections|sentinel_username|sentinel_password|ssl_.+")
# A URL has one host. Python lets several pass for one, but newer versions not among brackets (python/cpython#105704).
_SEVERAL = re.compile(r"(?P<before>\w+\+\w+://(?:[^/?#]*@)?)(?P<hosts>[^/?#@]*)(?P<after>.*)", re.DOTALL)
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::(?P<port>[0-9]{1,5}))?")


class Kind(StrEnum):
    SINGLE = "redis"
    SENTINEL = "redis sentinel"
    CLUSTER = "redis cluster"


_SCHEMES = {
    "redis": Kind.SINGLE,
    "rediss": Kind.SINGLE,
    "unix": Kind.SINGLE,
    "redis+sentinel": Kind.SENTINEL,
    "rediss+sentinel": Kind.SENTINEL,
    "redis+cluster": Kind.CLUSTER,
    "rediss+cluster": Kind.CLUSTER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPlace:
    """`options` are redis-py's keyword arguments for a connection to a server that keeps data, less `hosts`: those of
    the sentinels, or of some of a cluster's servers. `service` is what sentinels call their master, and `sentinels` are
    the options for a connection to one."""

    kind: Kind
    options: Mapping[str, Any] = field(repr=False)  # with a password, as `sentinels`
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinels: Mapping[str, Any] = field(default_factory=dict, repr=False)


def redis_place(text: str) -> RedisPlace:
    """Raises UnusableRedis, without anything of the URL in it that may be a password."""
    several = _SEVERAL.fullmatch(text)
    if several:
        text = f"{several['before']}localhost{several['after']}"
    try:
        url = urlsplit(text)
    except ValueError:
        url = SplitResult("", "", "", "", "")
    kind = _SCHEMES.get(url.scheme)
    if kind is None or "://" not in text or url.fragment:
        # The cause is not kept, here and below: it may quote the URL.
        raise UnusableRedis(
            f"the Redis URL is not one, such as {EXAMPLES}; percent-encode what is special in a password"
        )
    _check_options(url)
    if url.scheme == "unix" and not url.path:
        raise UnusableRedis("the Redis URL must name the socket, as in unix:///run/redis.sock")
    if several is None:
        return RedisPlace(kind=kind, options=_single_options(text, url))
    service, _, database = url.path.removeprefix("/").partition("/")
    if kind is Kind.CLUSTER:
        service, database = "", url.path.removeprefix("/")
        if database not in ("", "0"):
            raise UnusableRedis("a Redis Cluster has no database but 0")
    elif not service:
        raise UnusableRedis("the Redis URL must name the sentinels' service after their hosts, as in …:26379/service")
    one = url._replace(scheme=url.scheme.partition("+")[0], path=f"/{database}")
    options = _single_options(one.geturl(), one)
    del options["host"]
    sentinel_login = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    sentinels = options | sentinel_login | {"db": 0}
    port = 26379 if kind is Kind.SENTINEL else 6379
    return RedisPlace(
        kind=kind, options=options, hosts=_hosts(several["hosts"], port), service=unquote(service), sentinels=sentinels
    )


def _check_options(url: SplitResult) -> None:
    # What is wrong is not quoted: the query may be what follows the ? of a password.
    for name in parse_qs(url.query, keep_blank_values=True):
        if not _OPTIONS.fullmatch(name) or (name.startswith("sentinel_") and "+sentinel" not in url.scheme):
            raise UnusableRedis(
                "the Redis URL has an option that is none of db, username, password, client_name, max_connections, "
                "those that begin with ssl_, and with sentinels sentinel_username and sentinel_password"
            )


def _single_options(text: str, url: SplitResult) -> dict[str, Any]:
    database = url.path.removeprefix("/")
    if url.scheme != "unix" and database and not (database.isascii() and database.isdigit()):
        raise UnusableRedis("the Redis URL's path must be the number of a database")
    try:
        options: dict[str, Any] = {**parse_url(text)}
    except ValueError:
        raise UnusableRedis("the Redis URL has a port or an option with a value that it can't have") from None
    return options


def _hosts(text: str, port: int) -> tuple[tuple[str, int], ...]:
    found = [_HOST.fullmatch(host) for host in text.split(",")]
    hosts = tuple((match["host"].strip("[]"), int(match["port"] or port)) for match in found if match)
    if len(hosts) < len(found) or not all(0 < port < 65536 for _, port in hosts):
        raise UnusableRedis("the Redis URL's hosts must be host:port, and commas between them")
    return hosts
