"""The same work again and again: what memory does over it."""

from statistics import linear_regression

from bench.streams.figures import SteadyState
from bench.streams.plan import Plan
from bench.streams.rig import Workshop
from bench.streams.targets import Target

_BROADCASTS = 5
_RECONNECTED_SHARE = 0.05
# The first rounds fill caches of bounded size; the slope is that of the rest.
_WARM_UP_ROUNDS = 3


def steady_state(workshop: Workshop, plan: Plan, target: Target) -> SteadyState:
    """The same broadcasts to the same number of streams, while some streams reconnect."""
    reconnected = max(1, int(plan.streams * _RECONNECTED_SHARE))
    memory = []
    with workshop.rig(target) as rig:
        rig.open_up_to(plan.streams)
        for _ in range(_WARM_UP_ROUNDS + plan.steady_rounds):
            rig.broadcast(_BROADCASTS)
            rig.load.reconnect(reconnected)
            rig.server.cpu_seconds_at_rest()
            memory.append(rig.server.memory_bytes())
    measured = memory[_WARM_UP_ROUNDS:]
    return SteadyState(
        memory_bytes=measured,
        slope_bytes_per_round=linear_regression(range(len(measured)), measured).slope,
        deliveries_per_round=_BROADCASTS * plan.streams,
        reconnects_per_round=reconnected,
    )
