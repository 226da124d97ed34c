"""Redis as a cluster, behind a sentinel, and over TLS: private servers of a test's own, made of `PrivateRedis`."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import URL

from tests.support.patience import within
from tests.support.ports import free_port
from tests.support.private_servers import run_private
from tests.support.redis_server import PrivateRedis

SERVICE = "hub"
SLOTS = 16384
_CHANGE_SECONDS = 90.0
_POLL_SECONDS = 0.05


class ClusterNode(PrivateRedis):
    """A server of a cluster, which notices in half a second that another is gone."""

    options: ClassVar[Mapping[str, str]] = {
        "cluster-enabled": "yes",
        "cluster-node-timeout": "500",
        "repl-diskless-sync-delay": "0",
    }

    def command(self, data: Path) -> list[str]:
        # By default its port for the others is among those of outgoing connections.
        return [*super().command(data), "--cluster-port", str(self._cluster_port)]

    def __init__(self) -> None:
        super().__init__()
        self._cluster_port = free_port()

    async def cluster(self, *words: str | int) -> Any:
        """A CLUSTER command."""
        return await ask(self, "CLUSTER", *words)

    async def meet(self, other: ClusterNode) -> None:
        await self.cluster("MEET", "127.0.0.1", other.port, other._cluster_port)

    async def id(self) -> str:
        return str((await self.cluster("MYID")).decode())


class ReplicatedRedis(PrivateRedis):
    """A server whose replicas don't wait for others before they follow it."""

    options: ClassVar[Mapping[str, str]] = {"repl-diskless-sync-delay": "0"}


class PrivateSentinel(PrivateRedis):
    """A sentinel that alone decides. It writes its configuration into its data directory.

    Once it has stood still itself for two seconds, it decides nothing for half a minute.
    """

    @classmethod
    def initialisation(cls, data: Path) -> list[str]:
        return ["/bin/sh", "-c", 'mkdir "$0" && touch "$0/sentinel.conf"', str(data)]

    def command(self, data: Path) -> list[str]:
        _, server = self.installed()
        options = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(data)}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [str(server), str(data / "sentinel.conf"), "--sentinel", *words]

    async def watch(self, master: PrivateRedis) -> None:
        """Under the name of SERVICE."""
        await ask(self, "SENTINEL", "MONITOR", SERVICE, "127.0.0.1", master.port, 1)
        await ask(self, "SENTINEL", "SET", SERVICE, "down-after-milliseconds", 4000, "failover-timeout", 2000)

    async def knows_replica(self) -> bool:
        """Whether it knows one that could become the master."""
        replicas = await ask(self, "SENTINEL", "REPLICAS", SERVICE)
        return any(replica[b"master-link-status"] == b"ok" for replica in replicas)

    async def fail_over(self) -> None:
        """Make the replica the master, as soon as the sentinel finds it fit for that."""

        async def agreed() -> bool:
            await ask(self, "SENTINEL", "FAILOVER", SERVICE)
            return True

        await eventually(agreed)


class TlsRedis(PrivateRedis):
    """A server that speaks nothing but TLS, and shows a certificate for 127.0.0.1 that it has signed itself."""

    product = "Redis or openssl"

    @classmethod
    def programs(cls) -> tuple[Path, Path] | None:
        return super().programs() if shutil.which("openssl") else None

    @classmethod
    def initialisation(cls, data: Path) -> list[str]:
        return [
            "/bin/sh",
            "-c",
            'mkdir "$0" && exec openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 '
            '-subj /CN=tests -addext subjectAltName=IP:127.0.0.1 -keyout "$0/key.pem" -out "$0/cert.pem"',
            str(data),
        ]

    def command(self, data: Path) -> list[str]:
        settings = {
            "port": "0",
            "tls-port": str(self.port),
            "tls-cert-file": str(data / "cert.pem"),
            "tls-key-file": str(data / "key.pem"),
            "tls-ca-cert-file": str(data / "cert.pem"),
            "tls-auth-clients": "no",
        }
        return [*super().command(data), *(word for name, value in settings.items() for word in (f"--{name}", value))]

    @property
    def certificate(self) -> Path:
        """What a client must have to trust it."""
        assert self._directory is not None
        return self._directory / "data" / "cert.pem"

    @property
    def url(self) -> URL:
        return super().url.set(drivername="rediss", query={"ssl_ca_certs": str(self.certificate)})


class TlsClusterNode(TlsRedis, ClusterNode):
    options: ClassVar[Mapping[str, str]] = {"cluster-enabled": "yes", "tls-cluster": "yes"}


class SocketRedis(PrivateRedis):
    """A server that has a socket of its own too."""

    def command(self, data: Path) -> list[str]:
        return [*super().command(data), "--unixsocket", str(data / "socket")]

    @property
    def socket(self) -> Path:
        assert self._directory is not None
        return self._directory / "data" / "socket"


async def ask(server: PrivateRedis, *command: str | int) -> Any:
    async with Redis.from_url(str(server.url)) as client:
        return await client.execute_command(*command)  # type: ignore[no-untyped-call]


async def replicates(server: PrivateRedis) -> bool:
    """Whether it has its master's state and follows it."""
    return bool((await ask(server, "INFO", "replication")).get("master_link_status") == "up")


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until this is true of servers, of which nothing tells. Where one refuses to say, it is not."""
    async with within(_CHANGE_SECONDS):
        while True:
            try:
                if await holds():
                    return
            except RedisError:
                pass
            await asyncio.sleep(_POLL_SECONDS)


class PrivateCluster:
    """Three masters with a third of the slots each; `spare` replicates the one that has the key, and takes its place
    when that is gone and it is let."""

    def __init__(self, nodes: list[ClusterNode], key: str) -> None:
        self._key = key
        *self.masters, self.spare = nodes
        self.owner = self.masters[0]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.masters)

    async def form(self) -> None:
        bounds = [SLOTS * place // len(self.masters) for place in range(len(self.masters) + 1)]
        slot = await self.masters[0].cluster("KEYSLOT", self._key)
        for node, first, end in zip(self.masters, bounds, bounds[1:], strict=False):
            await node.cluster("ADDSLOTSRANGE", first, end - 1)
            if first <= slot < end:
                self.owner = node
        for node in [*self.masters[1:], self.spare]:
            await self.masters[0].meet(node)
        await eventually(self._all_meet)
        owner_id = await self.owner.id()
        await self.spare.cluster("REPLICATE", owner_id)
        for node in self.masters:
            await eventually(lambda node=node: self._knows_replica(node, owner_id))  # type: ignore[misc]
        await self._spare_may_take_over(False)  # from an owner that merely stood still

    async def move_key(self) -> ClusterNode:
        """Give the slot of the key, without any keys in it, to another master; which one."""
        [other, *_] = [node for node in self.masters if node is not self.owner]
        slot = await self.owner.cluster("KEYSLOT", self._key)
        other_id = await other.id()
        for node in (other, self.owner):
            await node.cluster("SETSLOT", slot, "NODE", other_id)
        return other

    async def taken_over(self) -> None:
        """Let the spare take the place of the owner, which is gone, and wait until it has."""
        await self._spare_may_take_over(True)
        await eventually(self._spare_serves)

    async def _spare_may_take_over(self, may: bool) -> None:
        await ask(self.spare, "CONFIG", "SET", "cluster-replica-no-failover", "no" if may else "yes")

    async def _spare_serves(self) -> bool:
        role = await ask(self.spare, "ROLE")
        info = await self.spare.cluster("INFO")
        return role[0] == b"master" and b"cluster_state:ok" in info

    async def _all_meet(self) -> bool:
        for node in [*self.masters, self.spare]:
            info = await node.cluster("INFO")
            if b"cluster_state:ok" not in info or b"cluster_known_nodes:4" not in info:
                return False
        return True

    async def _knows_replica(self, node: ClusterNode, owner_id: str) -> bool:
        known = (await node.cluster("NODES")).decode().splitlines()
        return await replicates(self.spare) and any("slave" in line and owner_id in line for line in known)


@asynccontextmanager
async def run_cluster(key: str) -> AsyncIterator[PrivateCluster]:
    """A new cluster in which `key` has a spare server; removed at the end of the block."""
    async with AsyncExitStack() as servers:
        running = [servers.enter_async_context(run_private(ClusterNode)) for _ in range(4)]
        cluster = PrivateCluster([await server for server in running], key)
        await cluster.form()
        yield cluster


@asynccontextmanager
async def run_sentinel() -> AsyncIterator[tuple[PrivateSentinel, PrivateRedis, PrivateRedis]]:
    """A sentinel, a master that it watches and the master's replica; removed at the end of the block."""
    async with run_private(ReplicatedRedis) as master, run_private(ReplicatedRedis) as replica:
        await ask(replica, "REPLICAOF", "127.0.0.1", master.port)
        await eventually(lambda: replicates(replica))
        async with run_private(PrivateSentinel) as sentinel:
            await sentinel.watch(master)
            await eventually(sentinel.knows_replica)
            yield sentinel, master, replica
