"""The scenarios: each starts its own server, does one thing to it and gives the figures."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import linear_regression
from tempfile import TemporaryDirectory
from typing import Any

from bench.figures import FanOut, Round, Sends, SteadyState, percentile
from bench.load import Receipts
from bench.load_process import LoadProcess
from bench.process import Cores, MeasuredServer
from bench.targets import API_PREFIX, SSE_HUB, Target, payload

_WARM_UP_STREAMS = 50
_WARM_UP_BROADCASTS = 2
_BATCHES_IN_FLIGHT = 4
_STEADY_BROADCASTS = 5
_STEADY_RECONNECTED_SHARE = 0.05
# The first rounds fill caches of bounded size; the slope is that of the rest.
_STEADY_WARM_UP_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything. `batch` is the messages of a batch, each for another user."""

    streams: int
    rounds: int
    bursts: int
    burst: int
    batches: int
    batch: int
    steady_rounds: int


class Bench:
    """Runs scenarios by one plan, with the server on one core and the load on the other."""

    def __init__(self, plan: Plan, cores: Cores) -> None:
        self._plan = plan
        self._cores = cores
        self._marks = 0

    def fan_out(self, target: Target) -> FanOut:
        """Memory and CPU of opening idle streams, then broadcasts to all of them, one at a time and in
        bursts.
        """
        plan = self._plan
        with self._running(target) as server, self._loading(server, target) as load:
            load.open([target.stream_path(number) for number in range(_WARM_UP_STREAMS)])
            self._broadcast(server, load, target, 1)
            cpu_before, memory_before = server.cpu_seconds_at_rest(), server.memory_bytes()
            load.open([target.stream_path(number) for number in range(_WARM_UP_STREAMS, plan.streams)])
            opened = plan.streams - _WARM_UP_STREAMS
            cpu_per_open = (server.cpu_seconds_at_rest() - cpu_before) / opened
            bytes_per_stream = (server.memory_bytes() - memory_before) / opened
            for _ in range(_WARM_UP_BROADCASTS):
                self._broadcast(server, load, target, 1)
            return FanOut(
                bytes_per_stream=bytes_per_stream,
                cpu_us_per_open=cpu_per_open * 1e6,
                singles=[self._broadcast(server, load, target, 1) for _ in range(plan.rounds)],
                bursts=[self._broadcast(server, load, target, plan.burst) for _ in range(plan.bursts)],
            )

    def persisted_sends(self) -> Sends:
        """Batches of persisted messages to users who are away, found again by reading their unread counts."""
        with self._running(SSE_HUB) as server:
            seconds, cpu_seconds = self._send_batches(server, mark="persisted", persist=True)
            with server.connect() as connection:
                found = sum(_unread(connection, _user(number)) for number in range(self._plan.batch))
        return Sends(sent=self._messages, found=found, seconds=seconds, server_cpu_seconds=cpu_seconds)

    def ephemeral_sends(self) -> Sends:
        """Batches of ephemeral messages to users with one open stream each, found again on these streams."""
        with self._running(SSE_HUB) as server, self._loading(server, SSE_HUB) as load:
            load.open([SSE_HUB.stream_path(number) for number in range(self._plan.batch)])
            load.begin_counting(b"ephemeral")
            seconds, cpu_seconds = self._send_batches(server, mark="ephemeral", persist=False)
            found = len(load.count(self._messages).times)
        return Sends(sent=self._messages, found=found, seconds=seconds, server_cpu_seconds=cpu_seconds)

    def steady_state(self, target: Target) -> SteadyState:
        """The same broadcasts to the same number of streams again and again, while some streams reconnect."""
        plan = self._plan
        reconnected = max(1, int(plan.streams * _STEADY_RECONNECTED_SHARE))
        memory = []
        with self._running(target) as server, self._loading(server, target) as load:
            load.open([target.stream_path(number) for number in range(plan.streams)])
            for _ in range(_STEADY_WARM_UP_ROUNDS + plan.steady_rounds):
                self._broadcast(server, load, target, _STEADY_BROADCASTS)
                load.reconnect(reconnected)
                server.cpu_seconds_at_rest()
                memory.append(server.memory_bytes())
        measured = memory[_STEADY_WARM_UP_ROUNDS:]
        return SteadyState(
            memory_bytes=measured,
            slope_bytes_per_round=linear_regression(range(len(measured)), measured).slope,
            deliveries_per_round=_STEADY_BROADCASTS * plan.streams,
            reconnects_per_round=reconnected,
        )

    @property
    def _messages(self) -> int:
        return self._plan.batches * self._plan.batch

    @contextmanager
    def _running(self, target: Target) -> Iterator[MeasuredServer]:
        with TemporaryDirectory(prefix="sse-bench-") as name:
            directory = Path(name)
            environment = target.environment(directory)
            with MeasuredServer(target.command, environment, directory, self._cores.server) as server:
                yield server

    def _loading(self, server: MeasuredServer, target: Target) -> LoadProcess:
        return LoadProcess(server.port, target.opened, self._cores.client)

    def _broadcast(self, server: MeasuredServer, load: LoadProcess, target: Target, count: int) -> Round:
        """Send `count` broadcasts at the same moment, each on a connection of its own, and wait for the last
        frame.
        """
        self._marks += 1
        mark = f"round-{self._marks:08}-"
        body = target.broadcast_body(payload(mark))
        load.begin_counting(mark.encode())
        with ExitStack() as stack:
            connections = [stack.enter_context(server.connect()) for _ in range(count)]
            for connection in connections:
                connection.connect()
            cpu_before = server.cpu_seconds_at_rest()
            began = time.monotonic()
            for connection in connections:
                _post(connection, target.broadcast_path, body)
            for connection in connections:
                _answer(connection)
            receipts = load.count(count * load.streams)
            cpu_seconds = server.cpu_seconds_at_rest() - cpu_before
        return _round(receipts, began, cpu_seconds)

    def _send_batches(self, server: MeasuredServer, *, mark: str, persist: bool) -> tuple[float, float]:
        """POST all batches, some in flight at a time; the seconds until the last answer, and the server's
        CPU.
        """
        plan = self._plan
        data = json.loads(payload(mark))
        messages = [
            {"to": {"user_id": _user(number)}, "event_type": "bench", "data": data, "persist": persist}
            for number in range(plan.batch)
        ]
        body = json.dumps({"messages": messages}).encode()
        with ExitStack() as stack:
            connections = [stack.enter_context(server.connect()) for _ in range(_BATCHES_IN_FLIGHT)]
            cpu_before = server.cpu_seconds_at_rest()
            began = time.monotonic()
            for number in range(plan.batches + _BATCHES_IN_FLIGHT):
                connection = connections[number % _BATCHES_IN_FLIGHT]
                if number >= _BATCHES_IN_FLIGHT:
                    _check_results(_answer(connection), plan.batch)
                if number < plan.batches:
                    _post(connection, f"{API_PREFIX}/send/batch", body)
            seconds = time.monotonic() - began
            return seconds, server.cpu_seconds_at_rest() - cpu_before


def _user(number: int) -> str:
    return f"user-{number}"


def _post(connection: HTTPConnection, path: str, body: bytes) -> None:
    connection.request("POST", path, body, {"Content-Type": "application/json"})


def _answer(connection: HTTPConnection) -> bytes:
    response = connection.getresponse()
    content = response.read()
    if response.status not in (200, 201):
        raise RuntimeError(f"the server answered {response.status}: {content[:500]!r}")
    return content


def _check_results(answer: bytes, expected: int) -> None:
    results: list[dict[str, Any]] = json.loads(answer)["results"]
    failed = [result for result in results if "error" in result]
    if failed or len(results) != expected:
        raise RuntimeError(f"{len(failed)} of {len(results)} sends of a batch failed: {failed[:1]}")


def _unread(connection: HTTPConnection, user_id: str) -> int:
    connection.request("GET", f"{API_PREFIX}/messages/unread?user_id={user_id}")
    total: int = json.loads(_answer(connection))["total"]
    return total


def _round(receipts: Receipts, began: float, cpu_seconds: float) -> Round:
    latencies_ms = sorted((received - began) * 1000 for received in receipts.times)
    seconds = latencies_ms[-1] / 1000
    return Round(
        cpu_us_per_delivery=cpu_seconds * 1e6 / len(latencies_ms),
        deliveries_per_second=len(latencies_ms) / seconds,
        latency_ms_p50=percentile(latencies_ms, 0.50),
        latency_ms_p99=percentile(latencies_ms, 0.99),
        latency_ms_max=latencies_ms[-1],
        client_busy=receipts.client_cpu_seconds / seconds,
    )
