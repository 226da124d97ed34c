"""Who is connected where: what each node of a hub says of itself, and what is known of all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientInfo:
    """One open connection."""

    connection_id: str
    client_id: str
    user_id: str | None
    groups: Sequence[str]
    event_types: Sequence[str] | None
    state: str
    connected_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """A node at a glance. Messages are counted since its start; `backlog` are those that wait to be committed."""

    node_id: str
    uptime_seconds: float
    connections: int
    accepted: int
    delivered: int
    replayed: int
    dropped: int
    backlog: int


class Members(NamedTuple):
    """Who is connected to a group: client ids and user ids, each once and in code point order."""

    clients: Sequence[str]
    users: Sequence[str]


class Audiences(NamedTuple):
    """How many different clients, users and groups have a stream open."""

    clients: int
    users: int
    groups: int
