"""The bus on the master that sentinels name."""

from __future__ import annotations

from tests.integration.redis.conftest import PREFIX
from tests.support.buses import hear_each_other, missed_and_back, open_redis_hub
from tests.support.ports import free_port
from tests.support.redis_kinds import SERVICE, ask, run_sentinel


async def test_the_master_dies_and_its_replica_takes_over() -> None:
    async with run_sentinel() as (sentinel, master, replica):
        # One of the sentinels is down too.
        url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/{SERVICE}"
        async with open_redis_hub(url, PREFIX) as hub:
            ana, bob = await hub.nodes("ana", "bob")
            await hear_each_other(ana, bob, 1)
            assert ana.bus.health()["kind"] == "redis sentinel"
            await master.kill9()
            await missed_and_back(ana, bob)
            await hear_each_other(ana, bob, 2)
            assert (await ask(replica, "ROLE"))[0] == b"master"


async def test_the_operator_makes_the_replica_the_master() -> None:
    async with run_sentinel() as (sentinel, master, replica):
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/{SERVICE}"
        async with open_redis_hub(url, PREFIX) as hub:
            ana, bob = await hub.nodes("ana", "bob")
            await hear_each_other(ana, bob, 1)
            # The former master is told that it is none some ten seconds later; so it never learns of it.
            await ask(master, "ACL", "SETUSER", "default", "-replicaof", "-slaveof")
            await sentinel.fail_over()
            await missed_and_back(ana, bob)
            await hear_each_other(ana, bob, 2)
            channel = f"{{{PREFIX}}}:notes"
            assert await ask(replica, "PUBSUB", "NUMSUB", channel) == [channel.encode(), 2]
            # They have not waited for that.
            assert (await ask(master, "ROLE"))[0] == b"master"
