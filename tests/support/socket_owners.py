"""Which of several processes on one address has a connection: the kernel knows. On Linux."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from pathlib import Path

_ESTABLISHED = "01"


def owners(port: int, pids: Iterable[int]) -> dict[str, int]:
    """By the client's IPv4 address, which of these processes has accepted its connection to this port of 127.0.0.1.

    For clients that have an address each, of 127.0.0.0/8.
    """
    clients = _connections(port)
    found = {}
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except FileNotFoundError:
                continue  # closed meanwhile
            if target in clients:
                found[clients[target]] = pid
    return found


def _connections(port: int) -> dict[str, str]:
    """The clients' addresses by what the descriptor of the server's end is a link to."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = f"{_hex('127.0.0.1')}:{port:04X}"
    return {
        f"socket:[{row[9]}]": _address(row[2].partition(":")[0])
        for row in rows
        if row[1] == local and row[3] == _ESTABLISHED
    }


def _hex(address: str) -> str:
    """As /proc has it: the number in the machine's own order of bytes."""
    [number] = struct.unpack("=I", socket.inet_aton(address))
    return f"{number:08X}"


def _address(text: str) -> str:
    return socket.inet_ntoa(struct.pack("=I", int(text, 16)))
