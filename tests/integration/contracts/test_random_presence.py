"""Presence, as a whole: after any history of some nodes, each of them is told what a naive model says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_domain.ports import Presence
from sse_domain.presence import ClientInfo, NodeReport
from tests.integration.contracts.random_examples import bounded
from tests.support.presences import HUBS, Hub, connection, report

NODES = ("a", "A", "a b")
USERS = ("ana", "Ana", "*")
GROUPS = ("team", "ana", "team ")
CLIENTS = ("tab", "ana")
IDS = ("1", "2", "10")
FAR = 1000


@dataclass(frozen=True)
class Said:
    """A connection, and until when its node keeps it alive."""

    node: str
    info: ClientInfo


class History:
    """One history, told to the nodes of a hub, and to the model: a list of all that is there."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._nodes = {node: hub.node(node) for node in NODES}
        self._now = 0.0
        self._ends = dict.fromkeys(NODES, 0.0)
        self._held_by: dict[str, Presence] = {}
        self._reports: dict[str, NodeReport] = {}
        self._there: list[Said] = []
        self._uptimes = count()

    async def renew(self, node: str, lease: float) -> None:
        its_report = report(node, float(next(self._uptimes)))
        known = self._stands(node) and lease > 0
        assert await self._nodes[node].renew(its_report, lease) == known
        if not known:
            if lease <= 0 and not self._stands(node):
                return
            self._forget(node)
        self._ends[node] = self._now + lease
        self._reports[node], self._held_by[node] = its_report, self._nodes[node]

    async def begin_anew(self, node: str) -> None:
        self._nodes[node] = self._hub.node(node)

    async def change(self, node: str, opened: list[ClientInfo], closed: list[str]) -> None:
        opened = [replace(info, connection_id=f"{node}:{info.connection_id}") for info in opened]
        closed = [f"{node}:{connection_id}" for connection_id in closed]
        await self._nodes[node].change(opened, closed)
        if self._stands(node):
            for connection_id in [info.connection_id for info in opened] + closed:
                self._there = [said for said in self._there if said.info.connection_id != connection_id]
            last = {info.connection_id: info for info in opened}.values()
            self._there += [Said(node, info) for info in last if info.connection_id not in closed]

    async def pass_time(self, seconds: float) -> None:
        await self._hub.pass_time(seconds)
        self._now += seconds
        for node in NODES:
            if self._ends[node] <= self._now:
                self._forget(node)

    async def compare(self, asker: str) -> None:
        """Everything that this node can ask."""
        node = self._nodes[asker]
        others = [each for each in sorted(NODES) if each != asker and self._ends[each] > self._now]
        infos = [said.info for said in self._there if said.node in others]
        infos.sort(key=lambda info: (info.connected_at, info.connection_id))
        assert await node.nodes() == [self._reports[each] for each in others]
        assert await node.clients(None, 2) == infos[:2]
        assert await node.clients(None, 100) == infos
        assert await node.users(USERS) == Counter(info.user_id for info in infos if info.user_id)
        for user in USERS:
            assert await node.clients(user, 100) == [info for info in infos if info.user_id == user]
        for group in GROUPS:
            members = [info for info in infos if group in info.groups]
            clients = sorted({info.client_id for info in members})
            users = sorted({info.user_id for info in members if info.user_id})
            assert await node.group(group, 100) == (clients, users)
            assert await node.group(group, 1) == (clients[:1], users[:1])
        assert await node.audiences(["tab"], ["Ana"], ["team"]) == (
            len({info.client_id for info in infos} | {"tab"}),
            len({info.user_id for info in infos if info.user_id} | {"Ana"}),
            len({group for info in infos for group in info.groups} | {"team"}),
        )

    def _stands(self, node: str) -> bool:
        return self._ends[node] > self._now and self._held_by[node] is self._nodes[node]

    def _forget(self, node: str) -> None:
        self._ends[node] = 0.0
        self._there = [said for said in self._there if said.node != node]


nodes = st.sampled_from(NODES)
infos = st.builds(
    lambda connection_id, user, groups, client, age: connection(
        connection_id, user, *groups, client_id=client, age=age
    ),
    st.sampled_from(IDS),
    st.sampled_from([None, *USERS]),
    st.lists(st.sampled_from(GROUPS), unique=True),
    st.sampled_from(CLIENTS),
    st.sampled_from([0, 1, 100_000]),
)

# What History is told to do, as the name of a method and its arguments. Leases end halfway between the instants at
# which something is done: the time that a test itself takes does not count.
changes = st.tuples(st.just("change"), nodes, st.lists(infos, max_size=3), st.lists(st.sampled_from(IDS), max_size=2))
renewals = st.tuples(st.just("renew"), nodes, st.sampled_from([0, 0.5 * FAR, 1.5 * FAR, 2.5 * FAR]))
steps: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    changes,
    changes,
    changes,
    renewals,
    renewals,
    st.tuples(st.just("pass_time"), st.sampled_from([FAR, 2 * FAR])),
    st.tuples(st.just("begin_anew"), nodes),
)


@pytest.mark.parametrize("name", HUBS)
@bounded
@given(history_steps=st.lists(st.tuples(steps, nodes), min_size=10, max_size=40))
async def test_every_presence_agrees_with_the_naive_model(
    name: str, history_steps: list[tuple[tuple[Any, ...], str]]
) -> None:
    async with HUBS[name]() as hub:
        history = History(hub)
        for node in NODES:
            await history.renew(node, 2.5 * FAR)
        for (step, *arguments), asker in history_steps:
            await getattr(history, step)(*arguments)
            await history.compare(asker)
        for asker in NODES:
            await history.compare(asker)
