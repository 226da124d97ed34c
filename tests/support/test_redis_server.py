"""The Redis that tests are given: which server it is, and that nothing stays on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.support import redis_server
from tests.support.ports import free_port
from tests.support.private_servers import run_private
from tests.support.redis_server import PrivateRedis, redis_prefix, redis_url


@pytest.fixture
def new_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if nothing had been looked for yet."""
    monkeypatch.setattr(redis_server, "_found", [])
    monkeypatch.setattr(redis_server, "_private_servers", [])
    yield
    redis_server.end()


@pytest.fixture
def nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the environment and nothing on the standard port."""
    monkeypatch.delenv("SSE_TEST_REDIS_URL", raising=False)
    monkeypatch.setattr(redis_server, "_USUAL_URL", f"redis://127.0.0.1:{free_port()}/0")


async def answers(url: str) -> bool:
    async with Redis.from_url(url) as redis:
        try:
            return bool(await redis.ping())
        except RedisConnectionError:
            return False


async def set_note(url: str) -> None:
    async with Redis.from_url(url) as redis:
        await redis.set("note", 1)


async def has_note(url: str) -> bool:
    async with Redis.from_url(url) as redis:
        return bool(await redis.exists("note"))


async def test_keys_under_a_prefix_go_with_it_also_after_a_failure_and_no_others() -> None:
    async with redis_prefix() as other, Redis.from_url(redis_url()) as redis:
        await redis.set(f"{other}:kept", 1)
        with suppress(ZeroDivisionError):
            async with redis_prefix() as prefix:
                assert await redis.keys(f"*{prefix}*") == []
                await redis.set(f"{prefix}:one", 1)
                await redis.sadd(f"{{{prefix}}}:other", 2)
                raise ZeroDivisionError
        assert await redis.keys(f"*{prefix}*") == []
        assert await redis.keys(f"*{other}*") == [f"{other}:kept".encode()]


async def test_a_private_server_forgets_all_when_it_is_restarted_or_killed_and_keeps_its_port() -> None:
    async with run_private(PrivateRedis) as server:
        url, first_pid = str(server.url), server.pid
        await set_note(url)
        assert await has_note(url)
        await server.restart()
        assert server.pid != first_pid
        assert not await has_note(url)
        await set_note(url)
        await server.kill9()
        assert not await answers(url)
        await server.start()
        assert not await has_note(url)
    assert not await answers(url)


async def test_a_subclass_configures_its_server() -> None:
    class OfThreeDatabases(PrivateRedis):
        options: ClassVar = {"databases": "3"}

    async with run_private(OfThreeDatabases) as server, Redis.from_url(str(server.url)) as redis:
        assert await redis.config_get("databases") == {"databases": "3"}


async def test_a_server_that_the_environment_names_comes_first(monkeypatch: pytest.MonkeyPatch, new_run: None) -> None:
    async with run_private(PrivateRedis) as server:
        monkeypatch.setenv("SSE_TEST_REDIS_URL", str(server.url))
        assert redis_url() == str(server.url)
        # The server that was asked for, or none.
        await server.stop()
        redis_server._found.clear()
        with pytest.raises(RedisConnectionError):
            redis_url()


async def test_one_on_the_standard_port_comes_next(monkeypatch: pytest.MonkeyPatch, new_run: None) -> None:
    async with run_private(PrivateRedis) as server:
        monkeypatch.delenv("SSE_TEST_REDIS_URL", raising=False)
        monkeypatch.setattr(redis_server, "_USUAL_URL", str(server.url))
        assert redis_url() == str(server.url)


async def test_a_private_server_takes_the_place_of_none_and_ends_with_the_run(
    nowhere_else: None, new_run: None
) -> None:
    url = redis_url()
    assert redis_url() == url
    assert await answers(url)
    redis_server.end()
    assert not await answers(url)


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_without_a_server_a_test_skips_and_in_ci_it_fails(
    monkeypatch: pytest.MonkeyPatch, nowhere_else: None, new_run: None, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setattr(PrivateRedis, "programs", lambda: None)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match=r"no Redis: SSE_TEST_REDIS_URL names none.*install-test-tools"):
        redis_url()
