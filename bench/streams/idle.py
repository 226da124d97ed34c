"""What streams cost that only stand there: their opening and their heartbeats."""

import time

from bench.streams.figures import Idle
from bench.streams.plan import Plan
from bench.streams.rig import Workshop
from bench.streams.targets import SSE_HUB

_STREAMS_BEFORE = 10
_PERIODS = 2


def idle(workshop: Workshop, plan: Plan) -> Idle:
    """All streams at once on a fresh server, which then has nothing to do but heartbeats."""
    with workshop.rig(SSE_HUB, {"SSE_HEARTBEAT_SECONDS": str(plan.heartbeat_seconds)}) as rig:
        rig.open_up_to(_STREAMS_BEFORE)
        cpu_before, load_before = rig.server.cpu_seconds_at_rest(), rig.load.cpu_seconds()
        opening_seconds = rig.open_up_to(plan.streams)
        opening_cpu = rig.server.cpu_seconds_at_rest() - cpu_before
        opening_load_cpu = rig.load.cpu_seconds() - load_before
        began, cpu_before = time.monotonic(), rig.server.cpu_seconds()
        time.sleep(_PERIODS * plan.heartbeat_seconds)
        heartbeat_cpu = rig.server.cpu_seconds() - cpu_before
        window = time.monotonic() - began
    return Idle(
        streams=plan.streams - _STREAMS_BEFORE,
        opening_seconds=opening_seconds,
        opening_cpu_seconds=opening_cpu,
        opening_load_cpu_seconds=opening_load_cpu,
        heartbeat_seconds=plan.heartbeat_seconds,
        heartbeat_window_seconds=window,
        heartbeat_cpu_seconds=heartbeat_cpu,
    )
