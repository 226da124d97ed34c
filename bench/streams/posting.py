"""The publisher: what it sends, and what it makes of the answers."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from bench.process import MeasuredServer
from bench.streams.targets import API_PREFIX, payload, user

_BATCHES_IN_FLIGHT = 4
_CONNECTIONS = 16


class RefusedError(RuntimeError):
    """The server answered, but not with a success."""


@dataclass(frozen=True, slots=True)
class BatchesSent:
    """When the first batch was sent and the last answered, and the server's CPU time until it was idle again."""

    began_ns: int
    answered_ns: int
    server_cpu_seconds: float


def post(connection: HTTPConnection, path: str, body: bytes) -> None:
    """Send a request without waiting for its answer."""
    connection.request("POST", path, body, {"Content-Type": "application/json"})


def answer(connection: HTTPConnection) -> bytes:
    """Wait for the answer to the request on this connection. Raises RefusedError unless it is 200 or 201."""
    response = connection.getresponse()
    content = response.read()
    if response.status not in (200, 201):
        raise RefusedError(f"the server answered {response.status}: {content[:500]!r}")
    return content


def message_to(user_id: str, mark: str, *, persist: bool) -> bytes:
    """The body of a message to one user."""
    persisted = b"true" if persist else b"false"
    content = user_id.encode(), payload(mark), persisted
    return b'{"user_id": "%b", "event_type": "bench", "data": %b, "persist": %b}' % content


def batch_to_users(messages: int, mark: str, *, persist: bool, user_id: Callable[[int], str] = user) -> bytes:
    """The body of a batch to the first of these users, with this mark in each message."""
    data = json.loads(payload(mark))
    batch = [
        {"to": {"user_id": user_id(number)}, "event_type": "bench", "data": data, "persist": persist}
        for number in range(messages)
    ]
    return json.dumps({"messages": batch}).encode()


def send_batches(server: MeasuredServer, bodies: Sequence[bytes], messages: int) -> BatchesSent:
    """POST these batches of so many messages to any hub, some in flight at a time. Raises RuntimeError unless every
    message of each is accepted.
    """
    answers = []
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(_BATCHES_IN_FLIGHT)]
        cpu_before = server.cpu_seconds_at_rest()
        began_ns = time.monotonic_ns()
        for number in range(len(bodies) + _BATCHES_IN_FLIGHT):
            connection = connections[number % _BATCHES_IN_FLIGHT]
            if number >= _BATCHES_IN_FLIGHT:
                answers.append(answer(connection))
            if number < len(bodies):
                post(connection, f"{API_PREFIX}/send/batch", bodies[number])
        answered_ns = time.monotonic_ns()
        cpu_seconds = server.cpu_seconds_at_rest() - cpu_before
    for each in answers:
        _check_results(each, messages)
    return BatchesSent(began_ns, answered_ns, cpu_seconds)


def send_steadily(
    server: MeasuredServer,
    path: str,
    body: Callable[[int], bytes],
    *,
    count: int,
    per_second: float,
    connections: int = _CONNECTIONS,
) -> list[int]:
    """POST `count` bodies at an even rate and wait for the answers; when each was due (nanoseconds of
    `time.monotonic_ns`).

    They take turns on so many connections, so an answer that is late does not hold the next requests up.
    """
    with ExitStack() as stack:
        taking_turns = [stack.enter_context(server.connect()) for _ in range(connections)]
        for connection in taking_turns:
            connection.connect()
        began_ns = time.monotonic_ns()
        due_ns = [began_ns + int(number * 1_000_000_000 / per_second) for number in range(count)]
        for number in range(count + connections):
            connection = taking_turns[number % connections]
            if number >= connections:
                answer(connection)
            if number < count:
                content = body(number)
                time.sleep(max(0, due_ns[number] - time.monotonic_ns()) / 1e9)
                post(connection, path, content)
    return due_ns


def unread(connection: HTTPConnection, user_id: str) -> int:
    """How many messages the user has not read."""
    connection.request("GET", f"{API_PREFIX}/messages/unread?user_id={user_id}")
    total: int = json.loads(answer(connection))["total"]
    return total


def _check_results(batch_answer: bytes, expected: int) -> None:
    results: Sequence[dict[str, Any]] = json.loads(batch_answer)["results"]
    failed = [result for result in results if "error" in result]
    if failed or len(results) != expected:
        raise RuntimeError(f"{len(failed)} of {len(results)} sends of a batch failed: {failed[:1]}")
