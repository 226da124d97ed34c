"""A server under measurement with the load's streams on it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.process import Cores, MeasuredServer
from bench.streams.compiling import compiled
from bench.streams.figures import Round
from bench.streams.load import SOURCE, Receipts, StreamLoad
from bench.streams.posting import answer, post
from bench.streams.targets import Target, payload


@dataclass(frozen=True, slots=True)
class Rig:
    """The streams of one server."""

    target: Target
    server: MeasuredServer
    load: StreamLoad

    def open_up_to(self, streams: int) -> float:
        """Open what is missing; the seconds until all were open."""
        return self.load.open([self.target.stream_path(number) for number in range(self.load.streams, streams)])

    def broadcast(self, count: int) -> Round:
        """Send `count` broadcasts at the same moment, each on a connection of its own, and wait until every stream has
        got them all.
        """
        mark = f"round-{time.monotonic_ns()}-"
        self.load.mark(mark)
        with ExitStack() as stack:
            connections = [stack.enter_context(self.server.connect()) for _ in range(count)]
            for connection in connections:
                connection.connect()
            cpu_before = self.server.cpu_seconds_at_rest()
            began_ns = time.monotonic_ns()
            for number, connection in enumerate(connections):
                post(connection, self.target.broadcast_path, self.target.broadcast_body(payload(f"{mark}{number}")))
            for connection in connections:
                answer(connection)
            receipts = self.load.count(count * self.load.streams)
            cpu_seconds = self.server.cpu_seconds_at_rest() - cpu_before
        check_each_came(receipts, count, self.load.streams)
        self.load.check_each(count)
        return Round(
            server_cpu_seconds=cpu_seconds,
            load_cpu_seconds=receipts.load_cpu_seconds,
            latencies_ms=sorted((received - began_ns) / 1e6 for received in receipts.times_ns),
        )


class Workshop:
    """Sets up rigs: the servers on one core, each with files of its own, the loads and the publisher on the other."""

    def __init__(self, cores: Cores, directory: Path) -> None:
        self._cores = cores
        self._directory = directory
        self._load = compiled(SOURCE, directory)

    @contextmanager
    def rig(self, target: Target, settings: Mapping[str, str] | None = None) -> Iterator[Rig]:
        """A server of the target, with `settings` in its environment too, and no stream yet."""
        with TemporaryDirectory(prefix="server-", dir=self._directory) as name:
            directory = Path(name)
            environment = {**target.environment(directory), **(settings or {})}
            with (
                MeasuredServer(target.command, environment, directory, self._cores.server) as server,
                StreamLoad(self._load, server.port, target.opened, self._cores.client) as load,
            ):
                yield Rig(target, server, load)


def check_each_came(receipts: Receipts, messages: int, times: int) -> None:
    """Raises RuntimeError unless each of the messages, numbered from 0, was received so many times."""
    came = [0] * messages
    for number in receipts.numbers:
        came[number] += 1
    if came != [times] * messages:
        raise RuntimeError(f"of {messages} messages some came {min(came)} and some {max(came)} times, not {times}")
