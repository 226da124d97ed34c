"""Broadcasts to more and more streams: all servers are up at once, and take turns round by round.

So whatever else the machine does meanwhile weighs on all of them alike, and their ratios hold though it does.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from bench.streams.figures import FanOut, Round, Size
from bench.streams.plan import Plan
from bench.streams.rig import Rig, Workshop
from bench.streams.targets import Target

_STREAMS_BEFORE = 10
_WARM_UP_BROADCASTS = 2


def fan_out(
    workshop: Workshop, plan: Plan, targets: Sequence[Target], tell: Callable[[str], None]
) -> Mapping[str, FanOut]:
    """By the targets' names. `tell` is told of every size."""
    with ExitStack() as stack:
        rigs = [stack.enter_context(workshop.rig(target)) for target in targets]
        memory_before = [_grow(rig, _STREAMS_BEFORE) for rig in rigs]
        _in_turns(rigs, _WARM_UP_BROADCASTS, broadcasts=1)
        sizes: list[list[Size]] = [[] for _ in rigs]
        bursts: list[list[Round]] = [[] for _ in rigs]
        for streams in plan.sizes:
            tell(f"broadcasts to {streams:,} streams")
            memory = [_grow(rig, streams) for rig in rigs]
            _in_turns(rigs, _WARM_UP_BROADCASTS, broadcasts=1)
            main = streams == plan.streams
            singles = _in_turns(rigs, plan.rounds if main else plan.growth_rounds, broadcasts=1)
            for index, rounds in enumerate(singles):
                sizes[index].append(Size(streams=streams, memory_bytes=memory[index], rounds=rounds))
            if main:
                tell(f"bursts to {streams:,} streams")
                bursts = _in_turns(rigs, plan.bursts, broadcasts=plan.burst)
    return {
        target.name: FanOut(
            streams=plan.streams,
            streams_before=_STREAMS_BEFORE,
            memory_bytes_before=memory_before[index],
            sizes=sizes[index],
            bursts=bursts[index],
        )
        for index, target in enumerate(targets)
    }


def _grow(rig: Rig, streams: int) -> int:
    """The server's memory once it has so many streams, all idle."""
    rig.open_up_to(streams)
    rig.server.cpu_seconds_at_rest()
    return rig.server.memory_bytes()


def _in_turns(rigs: Sequence[Rig], rounds: int, *, broadcasts: int) -> list[list[Round]]:
    """The rounds of each."""
    turns = [[rig.broadcast(broadcasts) for rig in rigs] for _ in range(rounds)]
    return [list(of_one) for of_one in zip(*turns, strict=True)]
