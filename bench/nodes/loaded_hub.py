"""A hub of several processes with the load's streams on them."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.process import MeasuredServer
from bench.streams.load import StreamLoad
from bench.streams.posting import answer, post
from bench.streams.rig import check_each_came
from bench.streams.targets import API_PREFIX, SSE_HUB, SSE_HUB_PERSISTED, payload, user, user_stream

_TOGETHER_SECONDS = 60.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What became of one broadcast. By load: the milliseconds from just before the POST to each receipt, in rising
    order, and the CPU seconds that the load has used meanwhile. `seq` is that of the message, if it was persisted.
    """

    latencies_ms: Sequence[Sequence[float]]
    load_cpu_seconds: Sequence[float]
    seq: int | None


class LoadedHub:
    """Servers that are one hub, each a node or the supervisor of some. Every server has equally many loads, and these
    are next to each other in `loads`; streams are spread over them evenly, each of another user.
    """

    def __init__(self, servers: Sequence[MeasuredServer], loads: Sequence[StreamLoad]) -> None:
        self.servers = servers
        self.loads = loads

    def user(self, load: int, number: int) -> str:
        """The user of a load's n-th stream."""
        return user(self._user_number(load, number))

    def open_up_to(self, streams: int) -> float:
        """Open what is missing, on all loads at the same time; the seconds until all were open."""
        began = time.monotonic()
        for load, each in enumerate(self.loads):
            wanted = streams // len(self.loads) + (load < streams % len(self.loads))
            numbers = (self._user_number(load, number) for number in range(each.streams, wanted))
            each.begin_opening([user_stream(number) for number in numbers])
        for each in self.loads:
            each.await_opening()
        return time.monotonic() - began

    def broadcast(self, *, persist: bool) -> Received:
        """POST one to the first server, and wait until as many frames have come as there are streams. Raises
        LoadFailedError if that takes too long.
        """
        target = SSE_HUB_PERSISTED if persist else SSE_HUB
        mark = f"round-{time.monotonic_ns()}-"
        for load in self.loads:
            load.mark(mark)
        with self.servers[0].connect() as connection:
            connection.connect()
            began_ns = time.monotonic_ns()
            post(connection, target.broadcast_path, target.broadcast_body(payload(f"{mark}0")))
            seq = json.loads(answer(connection))["seq"]
        received = [load.count(load.streams) for load in self.loads]
        for load, receipts in zip(self.loads, received, strict=True):
            check_each_came(receipts, 1, load.streams)
        return Received(
            latencies_ms=[receipts.latencies_ms([began_ns]) for receipts in received],
            load_cpu_seconds=[receipts.load_cpu_seconds for receipts in received],
            seq=seq,
        )

    def check_each_once(self) -> None:
        """Raises LoadFailedError unless every stream has been given the last broadcast, and only once until now."""
        for load in self.loads:
            load.check_each(1)

    def cpu_seconds(self) -> float:
        """Of all servers, with what runs below them."""
        return sum(server.cpu_seconds() for server in self.servers)

    def load_cpu_seconds(self) -> float:
        return sum(load.cpu_seconds() for load in self.loads)

    def pids(self) -> list[int]:
        return [pid for server in self.servers for pid in server.pids()]

    def await_nodes(self, nodes: int) -> None:
        """Wait until so many nodes have each answered that it knows all of them and that its bus is healthy."""
        deadline = time.monotonic() + _TOGETHER_SECONDS
        together: set[str] = set()
        while len(together) < nodes:
            for server in self.servers:
                # Of several workers on one address a new connection may be given to any.
                answered = info(server)
                if len(answered["nodes"]) == nodes and answered["bus"]["healthy"]:
                    together.add(answered["node_id"])
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {_TOGETHER_SECONDS} s only {len(together)} of {nodes} nodes were one hub")
            time.sleep(_POLL_SECONDS)

    def _user_number(self, load: int, number: int) -> int:
        return number * len(self.loads) + load


@contextmanager
def loaded_hub(
    environment: Mapping[str, str],
    directory: Path,
    program: Path,
    *,
    nodes: int = 1,
    workers: int = 1,
    loads: int = 1,
    server_core: int | None = None,
    load_core: int | None = None,
) -> Iterator[LoadedHub]:
    """So many servers with this environment, each of so many workers, and on each so many loads (`program`), which have
    no stream yet. Files go into directories in `directory`.
    """
    command = [*SSE_HUB.command, *(("--workers", str(workers)) if workers > 1 else ())]
    with ExitStack() as stack:
        servers = []
        for _ in range(nodes):
            place = Path(stack.enter_context(TemporaryDirectory(prefix="node-", dir=directory)))
            servers.append(stack.enter_context(MeasuredServer(command, environment, place, server_core)))
        yield LoadedHub(
            servers,
            [
                stack.enter_context(StreamLoad(program, server.port, SSE_HUB.opened, load_core))
                for server in servers
                for _ in range(loads)
            ],
        )


def info(server: MeasuredServer) -> dict[str, Any]:
    """What the node that takes the connection says of its hub."""
    with server.connect() as connection:
        connection.request("GET", f"{API_PREFIX}/info")
        answered: dict[str, Any] = json.loads(answer(connection))
        return answered
