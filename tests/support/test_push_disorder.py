"""What the disordered pushes of a real Redis look like to a real subscriber."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from redis.asyncio import Redis

from tests.support.private_servers import run_private
from tests.support.push_disorder import PushDisorder, value_end
from tests.support.redis_server import PrivateRedis
from tests.support.tcp_proxy import run_proxy


@pytest.mark.parametrize(
    "value",
    [
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":12\r\n",
        b"_\r\n",
        b"$5\r\na\r\nbc\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
        b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n+c\r\n",
        b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\n\r\n\r\n",
    ],
)
def test_where_a_value_ends(value: bytes) -> None:
    assert value_end(value + b"+next\r\n", 0) == len(value)
    for length in range(len(value)):
        assert value_end(value[:length], 0) is None


async def test_every_message_comes_and_some_twice_and_some_late() -> None:
    disorder = PushDisorder(Random(1))
    async with (
        run_private(PrivateRedis) as server,
        run_proxy(server.url, disorder) as (_, url),
        Redis.from_url(url, protocol=3) as subscriber,
        Redis.from_url(str(server.url)) as publisher,
        subscriber.pubsub(ignore_subscribe_messages=True) as pubsub,
    ):
        await pubsub.subscribe("c")

        async def heard(last: int) -> list[int]:
            numbers: list[int] = []
            async for message in pubsub.listen():
                numbers.append(int(message["data"]))
                if numbers[-1] == last:
                    return numbers
            raise AssertionError("unreachable")

        for number in range(5):
            await publisher.publish("c", number)
        assert await heard(4) == [0, 1, 2, 3, 4]
        disorder.active = True
        for number in range(100):
            await publisher.publish("c", number)
        disorder.active = False
        await publisher.publish("c", 100)
        numbers = await heard(100)
        await publisher.publish("c", 101)
        numbers += await heard(101)
    counted = Counter(numbers)
    assert set(counted) == set(range(102))
    assert sum(count > 1 for count in counted.values()) == disorder.doubled > 10
    assert numbers != sorted(numbers)
    assert disorder.delayed > 10
