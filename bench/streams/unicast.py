"""Messages to one user at a time, at an even rate, while all streams are open and have their heartbeats."""

import time

from bench.streams.figures import Unicast
from bench.streams.plan import Plan
from bench.streams.posting import message_to, send_steadily
from bench.streams.rig import Workshop, check_each_came
from bench.streams.targets import API_PREFIX, SSE_HUB, user

# Prime to the number of streams, so that the receivers are spread over all of them.
STRIDE = 7919


def unicast(workshop: Workshop, plan: Plan) -> Unicast:
    """Each latency counts from the moment the message was due, so a publisher or a server that falls behind shows."""
    messages = plan.unicast_rate * plan.unicast_seconds
    mark = "unicast-"

    def body(number: int) -> bytes:
        return message_to(user(number * STRIDE % plan.streams), f"{mark}{number}", persist=False)

    with workshop.rig(SSE_HUB, {"SSE_HEARTBEAT_SECONDS": str(plan.heartbeat_seconds)}) as rig:
        rig.open_up_to(plan.streams)
        rig.load.mark(mark)
        cpu_before = rig.server.cpu_seconds_at_rest()
        due_ns = send_steadily(rig.server, f"{API_PREFIX}/send", body, count=messages, per_second=plan.unicast_rate)
        receipts = rig.load.count(messages)
        seconds = (time.monotonic_ns() - due_ns[0]) / 1e9
        cpu_seconds = rig.server.cpu_seconds() - cpu_before
    check_each_came(receipts, messages, 1)
    return Unicast(
        streams=plan.streams,
        per_second=plan.unicast_rate,
        seconds=seconds,
        server_cpu_seconds=cpu_seconds,
        latencies_ms=receipts.latencies_ms(due_ns),
    )
