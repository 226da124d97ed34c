"""A port for a server that tests stop and start again."""

import os
import random
import socket

# Below the range from which systems hand out the ports of outgoing connections: while its server is down, no client's
# socket can take such a port, nor connect to itself on it. Of those, each process that runs tests has its own.
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_unused = list(range(20_000, 32_000)[_PROCESS::_PROCESSES])
random.shuffle(_unused)


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens, and that is never returned again."""
    while True:
        port = _unused.pop()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
