"""The load: one process that holds thousands of open streams and notes when each frame arrives.

It reads with epoll and does nothing for a frame but count it and note the time, so that it costs less than
any server it measures; it reports its own CPU time so that a reader of the figures can check that. Only
complete frames count, and of these the ones that contain a mark, a string that occurs nowhere else. (A server
that spreads one frame over several HTTP chunks would go uncounted: its measurement fails rather than
misleads.)
"""

import os
import select
import socket
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_FRAME_ENDS = (b"\n\n", b"\r\n\r\n")
_CHUNK_AND_FRAME_ENDS = (b"\n\n\r\n", b"\r\n\r\n")
_NO_MARK = b"\0"
_READ_SIZE = 32_768
_EVENTS_AT_ONCE = 4096
_OPENING_AT_ONCE = 256
_OPEN_SECONDS = 120.0
_SOURCE_ADDRESSES = 16
# From Linux's in.h; Python has no name for it before 3.12.
_IP_BIND_ADDRESS_NO_PORT = 24


class LoadFailedError(RuntimeError):
    """Streams could not be opened, ended, or did not bring the frames that they should have."""


@dataclass(frozen=True, slots=True)
class Receipts:
    """When each of the counted frames was read (`time.monotonic`), and the CPU seconds that reading took."""

    times: "array[float]"
    client_cpu_seconds: float


class StreamLoad:
    """Many open streams of one server, read only inside its calls. A context manager that closes them.

    `control` is a file descriptor that is watched as well: whoever tells this process what to do next.
    """

    def __init__(self, port: int, opened: bytes, control: int) -> None:
        self._port = port
        self._opened = opened
        self._control = control
        self._epoll = select.epoll()
        self._epoll.register(control, select.EPOLLIN)
        self._connections: dict[int, tuple[socket.socket, str]] = {}
        self._opening: dict[int, bytes] = {}
        self._partial: dict[int, bytes] = {}
        self._mark = _NO_MARK
        self._times: array[float] = array("d")
        self._cpu_before_counting = 0.0
        self._sources = 0
        self._told = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection, _ in self._connections.values():
            connection.close()
        self._epoll.close()

    def open(self, paths: Sequence[str]) -> None:
        """Open one stream for each path and wait until each has said `opened`."""
        deadline = time.monotonic() + _OPEN_SECONDS
        for path in paths:
            self._begin(path)
            while len(self._opening) >= _OPENING_AT_ONCE:
                self._read_before(deadline)
        while self._opening:
            self._read_before(deadline)

    def reconnect(self, count: int) -> None:
        """Close the `count` oldest streams and open them again."""
        oldest = list(self._connections.items())[:count]
        for descriptor, (connection, _) in oldest:
            self._forget(descriptor)
            connection.close()
        self.open([path for _, (_, path) in oldest])

    def begin_counting(self, mark: bytes) -> None:
        """From now on count the frames that contain `mark`."""
        self._mark = mark
        self._times = array("d")
        self._cpu_before_counting = time.process_time()

    def count(self, expected: int, seconds: float) -> Receipts:
        """Read until the `expected` number of frames has been counted; `LoadFailedError` after `seconds`."""
        deadline = time.monotonic() + seconds
        while len(self._times) < expected:
            if not self._read(deadline - time.monotonic()):
                raise LoadFailedError(f"{len(self._times)} of {expected} frames came within {seconds} s")
        self._mark = _NO_MARK
        return Receipts(self._times, time.process_time() - self._cpu_before_counting)

    def read_until_told(self) -> None:
        """Read on until there is something to read from the control descriptor."""
        self._told = False
        while not self._told:
            self._read(None)

    def _read(self, timeout: float | None) -> bool:
        """Read once from every stream that has something; false if none has for `timeout` seconds."""
        # A negative time-out, which a deadline that has passed gives, would wait for ever.
        ready = self._epoll.poll(timeout if timeout is None else max(0.0, timeout), _EVENTS_AT_ONCE)
        for descriptor, _ in ready:
            if descriptor == self._control:
                self._told = True
                continue
            try:
                received = os.read(descriptor, _READ_SIZE)
            except ConnectionError:
                received = b""
            if not received:
                raise LoadFailedError(f"a stream ended; opening it said {self._opening.get(descriptor)!r}")
            if descriptor in self._opening:
                self._go_on_opening(descriptor, received)
                continue
            if descriptor in self._partial:
                received = self._partial.pop(descriptor) + received
            if not received.endswith(_CHUNK_AND_FRAME_ENDS):
                received = self._keep_incomplete(descriptor, received)
            for _ in range(received.count(self._mark)):
                self._times.append(time.monotonic())
        return bool(ready)

    def _read_before(self, deadline: float) -> None:
        if not self._read(deadline - time.monotonic()):
            raise LoadFailedError(f"{len(self._opening)} streams did not open in time")

    def _begin(self, path: str) -> None:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # An address has some 28,000 ports towards one server, fewer while closed ones linger, so several take
        # turns. The port is left to connect(): bound before, it could serve only one connection.
        connection.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        connection.bind((f"127.0.0.{2 + self._sources % _SOURCE_ADDRESSES}", 0))
        self._sources += 1
        connection.settimeout(_OPEN_SECONDS)
        connection.connect(("127.0.0.1", self._port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n\r\n".encode())
        connection.setblocking(False)
        descriptor = connection.fileno()
        self._connections[descriptor] = connection, path
        self._opening[descriptor] = b""
        self._epoll.register(descriptor, select.EPOLLIN)

    def _go_on_opening(self, descriptor: int, received: bytes) -> None:
        self._opening[descriptor] += received
        so_far = self._opening[descriptor]
        if not so_far.startswith(b"HTTP/1.1 200 "[: len(so_far)]):
            raise LoadFailedError(f"a stream was refused: {so_far!r}")
        if self._opened in so_far:
            del self._opening[descriptor]
            self._keep_incomplete(descriptor, so_far)

    def _keep_incomplete(self, descriptor: int, received: bytes) -> bytes:
        """What of `received` belongs to complete frames; the rest waits for its end to arrive."""
        end = max(found + len(mark) if (found := received.rfind(mark)) >= 0 else 0 for mark in _FRAME_ENDS)
        if end < len(received):
            self._partial[descriptor] = received[end:]
        return received[:end]

    def _forget(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)
        del self._connections[descriptor]
        self._partial.pop(descriptor, None)
