"""What Redis URLs say, and that a wrong one is refused without a password in the refusal."""

from __future__ import annotations

import pytest
from redis.asyncio.connection import SSLConnection

from sse_adapters.redis import RedisConnections, UnusableRedis
from sse_adapters.redis.connections import _BehindSentinels
from sse_adapters.redis.urls import Kind, redis_place

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://localhost", "redis"),
        ("redis://:p%40ss@redis.example:6379/3", "redis"),
        ("rediss://user:pass@redis.example:6380/0?ssl_cert_reqs=none", "redis"),
        ("unix:///run/redis.sock?db=2", "redis"),
        ("redis+sentinel://one:26379,two:26379/service", "redis sentinel"),
        ("rediss+sentinel://user:pass@[::1]/service/2?sentinel_password=other", "redis sentinel"),
        ("redis+cluster://one:6379,two", "redis cluster"),
        ("rediss+cluster://user:pass@one/0?ssl_check_hostname=no", "redis cluster"),
    ],
)
def test_connections_are_made_from_a_url_without_an_event_loop(url: str, kind: str) -> None:
    connections = RedisConnections(url, "hub")
    assert connections.kind == kind
    assert connections.key("notes") == "{hub}:notes"


def test_a_servers_options_are_those_of_redis_py() -> None:
    place = redis_place("redis://us%40er:pa%3Ass@redis.example:6380/3?client_name=hub&max_connections=7")
    assert place.options == {
        "host": "redis.example",
        "port": 6380,
        "username": "us@er",
        "password": "pa:ss",
        "db": 3,
        "client_name": "hub",
        "max_connections": 7,
    }


def test_sentinels_are_named_with_their_service_and_have_a_login_of_their_own() -> None:
    place = redis_place("redis+sentinel://user:pass@one:1,[::1]/my%2Fservice/2?sentinel_password=other")
    assert place.kind is Kind.SENTINEL
    assert place.hosts == (("one", 1), ("::1", 26379))
    assert place.service == "my/service"
    assert place.options == {"username": "user", "password": "pass", "db": 2}
    assert place.sentinels == {"username": None, "password": "other", "db": 0}


def test_a_cluster_is_named_by_some_of_its_servers() -> None:
    place = redis_place("redis+cluster://:pass@one:1,two,[::1]:3,[::2]")
    assert place.kind is Kind.CLUSTER
    assert place.hosts == (("one", 1), ("two", 6379), ("::1", 3), ("::2", 6379))
    assert place.options == {"password": "pass"}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (SECRET, "is not one, such as redis://"),
        (f"localhost:{SECRET}", "is not one, such as redis://"),
        (f"http://:{SECRET}@localhost", "is not one, such as redis://"),
        (f"redis://:{SECRET}#@localhost", "is not one, such as redis://"),
        (f"redis://:a]{SECRET}[@localhost", "is not one, such as redis://"),
        (f"redis+sentinel:{SECRET}://one/service", "must be the number of a database"),
        (f"redis://:{SECRET}/x@localhost", "must be the number of a database"),
        (f"redis://:{SECRET}/0@localhost", "must be the number of a database"),
        (f"redis://:a?{SECRET}@localhost", "has a port or an option|has an option that is none of"),
        (f"redis://localhost?{SECRET}=1", "has an option that is none of"),
        (f"redis://localhost:{SECRET}", "has a port or an option"),
        (f"redis://:{SECRET}@localhost:70000", "has a port or an option"),
        (f"redis://:{SECRET}@localhost?max_connections=many", "has a port or an option"),
        (f"redis://:{SECRET}@localhost?ssl_ca_certs=ca.pem", "an option that can't be used"),
        (f"rediss://:{SECRET}@localhost?ssl_cert_reqs=perhaps", "an option that can't be used"),
        (f"rediss://:{SECRET}@localhost?ssl_ca_certs=/nowhere/ca.pem", "an option that can't be used.*No such file"),
        (f"rediss+cluster://:{SECRET}@127.0.0.1?ssl_ca_path=/nowhere", "an option that can't be used"),
        (f"unix://:{SECRET}@", "must name the socket"),
        (f"redis://:{SECRET}@localhost?sentinel_password=x", "has an option that is none of"),
        (f"redis+sentinel://:{SECRET}@localhost:26379", "must name the sentinels' service"),
        (f"redis+sentinel://:{SECRET}@localhost:26379/service/two", "must be the number of a database"),
        (f"redis+sentinel://:{SECRET}@localhost:1,,/service", "hosts must be host:port"),
        (f"redis+cluster://:{SECRET}@localhost/2", "no database but 0"),
        (f"redis+cluster://:{SECRET}@localhost:70000", "hosts must be host:port"),
        (f"redis+cluster://:{SECRET}@", "hosts must be host:port"),
    ],
)
def test_a_wrong_url_is_refused_in_one_line_that_shows_no_password(url: str, why: str) -> None:
    with pytest.raises(UnusableRedis, match=why) as refused:
        RedisConnections(url, "hub")
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)
    cause = refused.value.__cause__
    assert cause is None or SECRET not in str(cause)


def test_tls_is_for_sentinels_and_their_servers_alike() -> None:
    connections = RedisConnections("rediss+sentinel://localhost/service?ssl_cert_reqs=none", "hub")
    servers = connections._servers
    assert isinstance(servers, _BehindSentinels)
    pools = [servers.client.connection_pool, *(sentinel.connection_pool for sentinel in servers._sentinel.sentinels)]
    for pool in pools:
        assert issubclass(pool.connection_class, SSLConnection)
        assert pool.connection_kwargs["ssl_cert_reqs"] == "none"


@pytest.mark.parametrize(
    ("login", "auth"),
    [
        ("", ()),
        (":pass@", ("AUTH", "default", "pass")),
        ("user:pa%20ss@", ("AUTH", "user", "pa ss")),
        ("user@", ("AUTH", "user", "")),
    ],
)
async def test_a_connection_begins_with_the_login(login: str, auth: tuple[str, ...]) -> None:
    server = await RedisConnections(f"redis://{login}localhost", "hub").server_of("key")
    assert server.hello == ("HELLO", "3", *auth, "SETNAME", "sse-hub")
    assert "pass" not in repr(server)


@pytest.mark.parametrize("prefix", ["", "}", "a b", "{a}", "a" * 65])
def test_a_prefix_that_would_not_keep_keys_together_is_refused(prefix: str) -> None:
    with pytest.raises(UnusableRedis, match="must be 1 to 64 characters"):
        RedisConnections("redis://localhost", prefix)
