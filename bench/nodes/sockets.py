"""The kernel's books on sockets: which process has which streams open."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

_ESTABLISHED = "01"


def descriptors(pid: int) -> int:
    """How many a process has open, of whatever kind."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def connections(pids: Collection[int], ports: Collection[int]) -> Mapping[int, int]:
    """How many established connections to one of these local ports (IPv4) each process has."""
    inodes = _established(ports)
    return {pid: len(inodes & _sockets(pid)) for pid in pids}


def _established(ports: Collection[int]) -> set[str]:
    found = set()
    with Path("/proc/net/tcp").open() as table:
        next(table)
        for line in table:
            # The number of the line, local and remote address, state, …, and the inode as the tenth.
            _, local, _, state, _, _, _, _, _, inode, *_ = line.split()
            if state == _ESTABLISHED and int(local.rpartition(":")[2], 16) in ports:
                found.add(inode)
    return found


def _sockets(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                found.add(target[len("socket:[") : -1])
    return found
