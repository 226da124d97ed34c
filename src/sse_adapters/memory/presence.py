"""Presence in memory, for nodes of one process; and for a node that is alone, where it costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from sse_domain.ports import Presence
from sse_domain.presence import Audiences, ClientInfo, Members, NodeReport


@dataclass(frozen=True, slots=True)
class _Lease:
    holder: Presence
    report: NodeReport
    ends: float
    connections: dict[str, ClientInfo]


class MemoryBoard:
    """Where the nodes of a hub see each other: those that were given the same one."""

    def __init__(self) -> None:
        self._leases: dict[str, _Lease] = {}

    def leases(self, now: float) -> dict[str, _Lease]:
        """Those that stand, by node id."""
        for node_id in [node_id for node_id, lease in self._leases.items() if lease.ends <= now]:
            del self._leases[node_id]
        return self._leases


class MemoryPresence(Presence):
    """Of one node on a board. `monotonic` tells seconds that only rise, to all nodes on it the same.

    No method awaits, so on one event loop each is atomic.
    """

    def __init__(self, board: MemoryBoard, node_id: str, monotonic: Callable[[], float]) -> None:
        self._board = board
        self._node_id = node_id
        self._monotonic = monotonic

    async def renew(self, report: NodeReport, lease_seconds: float) -> bool:
        leases, own = self._leases(), self._own()
        if lease_seconds <= 0:
            if own:
                del leases[self._node_id]
            return False
        ends = self._monotonic() + lease_seconds
        leases[self._node_id] = _Lease(self, report, ends, own.connections if own else {})
        return own is not None

    async def change(self, opened: Sequence[ClientInfo], closed: Sequence[str]) -> None:
        if own := self._own():
            own.connections.update((info.connection_id, info) for info in opened)
            for connection_id in closed:
                own.connections.pop(connection_id, None)

    async def nodes(self) -> list[NodeReport]:
        return [lease.report for lease in self._others()]

    async def users(self, user_ids: Sequence[str]) -> dict[str, int]:
        wanted = set(user_ids)
        found: dict[str, int] = {}
        for info in self._connections():
            if info.user_id in wanted:
                found[info.user_id] = found.get(info.user_id, 0) + 1
        return found

    async def group(self, group: str, limit: int) -> Members:
        there = [info for info in self._connections() if group in info.groups]
        clients = {info.client_id for info in there}
        users = {info.user_id for info in there if info.user_id is not None}
        return Members(sorted(clients)[:limit], sorted(users)[:limit])

    async def clients(self, user_id: str | None, limit: int) -> list[ClientInfo]:
        infos = [info for info in self._connections() if user_id is None or info.user_id == user_id]
        return sorted(infos, key=lambda info: (info.connected_at, info.connection_id))[:limit]

    async def audiences(self, clients: Collection[str], users: Collection[str], groups: Collection[str]) -> Audiences:
        others = list(self._connections())
        return Audiences(
            len({info.client_id for info in others}.union(clients)),
            len({info.user_id for info in others if info.user_id is not None}.union(users)),
            len({group for info in others for group in info.groups}.union(groups)),
        )

    def _leases(self) -> dict[str, _Lease]:
        return self._board.leases(self._monotonic())

    def _own(self) -> _Lease | None:
        """This node's lease while it stands; it ends too when another process takes the node's id."""
        lease = self._leases().get(self._node_id)
        return lease if lease and lease.holder is self else None

    def _others(self) -> list[_Lease]:
        return [lease for node_id, lease in sorted(self._leases().items()) if node_id != self._node_id]

    def _connections(self) -> Iterator[ClientInfo]:
        return (info for lease in self._others() for info in lease.connections.values())
