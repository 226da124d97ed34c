"""Three nodes on one database and one Redis, beside a single node: the nodes on one core, all else on another.

A database server runs where it happens to.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from bench.nodes.crossing import crossing
from bench.nodes.fan_out import MeasuredHub, fan_out
from bench.nodes.figures import Crossing, ThreeNodes
from bench.nodes.loaded_hub import LoadedHub, loaded_hub
from bench.nodes.notes import notes, share_of_core
from bench.nodes.plan import ThreePlan
from bench.process import Cores, pinned_to

NODES = 3
EPHEMERAL, PERSISTED = "ephemeral, to another node", "persisted, to another node"
TICK = "persisted, to another node without Redis"
EPHEMERAL_HERE, PERSISTED_HERE = "ephemeral, on the same node", "persisted, on the same node"

_WARM_UP_SECONDS = 0.5


class ThreeBeside:
    """The measurements, by one plan. `tell` is told what comes next."""

    def __init__(
        self, plan: ThreePlan, cores: Cores, directory: Path, program: Path, tell: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._cores = cores
        self._directory = directory
        self._program = program
        self._tell = tell

    def with_redis(self, alone: Mapping[str, str], together: Mapping[str, str]) -> Iterator[ThreeNodes]:
        """What is known so far, after every scenario. The environments are those of the single node, and of three."""
        plan = self._plan
        with self._hub(alone, 1) as single, self._hub(together, NODES) as three:
            three.await_nodes(NODES)
            self._tell(f"opening {plan.streams:,} streams on each node")
            single.open_up_to(plan.streams)
            three.open_up_to(NODES * plan.streams)
            idle = share_of_core([*single.servers, *three.servers], plan.note_seconds)
            results = ThreeNodes(idle=idle)
            hubs = MeasuredHub(single, alone, idle[:1]), MeasuredHub(three, together, idle[1:])
            for persist in (False, True):
                self._tell(f"{'persisted' if persist else 'ephemeral'} broadcasts, on one node and on three")
                with pinned_to(self._cores.client):
                    figures = fan_out(*hubs, plan.rounds, persist=persist)
                results = replace(results, fan_out={**results.fan_out, persist: figures})
                yield results
            for name, node, persist in (
                (EPHEMERAL_HERE, 0, False),
                (EPHEMERAL, 1, False),
                (PERSISTED_HERE, 0, True),
                (PERSISTED, 1, True),
            ):
                self._tell(f"latency: {name}")
                measured = self._crossings(three, node=node, persist=persist)
                results = replace(results, crossings={**results.crossings, name: measured})
                yield results
            for requests in plan.requests:
                self._tell(f"notes: {requests.messages} messages a request, {requests.per_second} requests a second")
                with pinned_to(self._cores.client):
                    rounds = [notes(three, requests, plan.note_seconds) for _ in range(plan.note_rounds)]
                results = replace(results, notes={**results.notes, requests: rounds})
                yield results

    def without_redis(self, environment: Mapping[str, str], results: ThreeNodes) -> ThreeNodes:
        """The same results, and the latency between two nodes that only share this database."""
        self._tell(f"latency: {TICK}")
        with self._hub(environment, 2) as pair:
            pair.open_up_to(2 * self._plan.streams)
            measured = self._crossings(pair, node=1, persist=True)
        return replace(results, crossings={**results.crossings, TICK: measured})

    def _crossings(self, hub: LoadedHub, *, node: int, persist: bool) -> list[Crossing]:
        plan = self._plan

        def one(seconds: float) -> Crossing:
            return crossing(hub, node=node, persist=persist, per_second=plan.per_second, seconds=seconds)

        with pinned_to(self._cores.client):
            one(_WARM_UP_SECONDS)
            return [one(plan.latency_seconds) for _ in range(plan.latency_rounds)]

    def _hub(self, environment: Mapping[str, str], nodes: int) -> AbstractContextManager[LoadedHub]:
        return loaded_hub(
            environment,
            self._directory,
            self._program,
            nodes=nodes,
            server_core=self._cores.server,
            load_core=self._cores.client,
        )
