"""Messages to one user at a time, at an even rate: sent to one node, received on the same or on another."""

import time

from bench.nodes.figures import Crossing
from bench.nodes.loaded_hub import LoadedHub
from bench.streams.posting import message_to, send_steadily
from bench.streams.rig import check_each_came
from bench.streams.targets import API_PREFIX
from bench.streams.unicast import STRIDE

# Enough that commits which take 50 ms do not hold the publisher up.
_CONNECTIONS = 64


def crossing(hub: LoadedHub, *, node: int, persist: bool, per_second: int, seconds: float) -> Crossing:
    """From the first node to streams of this one. Each node has one load."""
    messages = round(per_second * seconds)
    mark = f"crossing-{time.monotonic_ns()}-"
    sender, receiver, load = hub.servers[0], hub.servers[node], hub.loads[node]

    def body(number: int) -> bytes:
        return message_to(hub.user(node, number * STRIDE % load.streams), f"{mark}{number}", persist=persist)

    load.mark(mark)
    before = sender.cpu_seconds_at_rest(), receiver.cpu_seconds_at_rest(), load.cpu_seconds(), time.process_time()
    due_ns = send_steadily(
        sender, f"{API_PREFIX}/send", body, count=messages, per_second=per_second, connections=_CONNECTIONS
    )
    receipts = load.count(messages)
    took = (time.monotonic_ns() - due_ns[0]) / 1e9
    after = sender.cpu_seconds(), receiver.cpu_seconds(), load.cpu_seconds(), time.process_time()
    check_each_came(receipts, messages, 1)
    sender_busy, receiver_busy, load_busy, publisher_busy = (
        (end - start) / took for start, end in zip(before, after, strict=True)
    )
    return Crossing(
        latencies_ms=receipts.latencies_ms(due_ns),
        sender_busy=sender_busy,
        receiver_busy=receiver_busy,
        load_busy=load_busy,
        publisher_busy=publisher_busy,
    )
