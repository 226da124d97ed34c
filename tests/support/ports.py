"""A port for a server that tests stop and start again."""

import random
import socket

# Below the range from which systems hand out the ports of outgoing connections: while its server is down, no client's
# socket can take such a port, nor connect to itself on it.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
