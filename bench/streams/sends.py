"""As many messages to single users as the server takes: over HTTP in batches, and in-process."""

import json

from bench.process import MeasuredServer
from bench.streams.figures import Sends
from bench.streams.plan import Plan
from bench.streams.posting import answer, batch_to_users, post, send_batches, unread
from bench.streams.rig import Workshop, check_each_came
from bench.streams.targets import IN_PROCESS, SSE_HUB, payload, user

# No answer may take so long that its connection gives up.
_LISTENERS_AT_ONCE = 1000
_IN_PROCESS_AT_ONCE = 20_000


def persisted_batches(workshop: Workshop, plan: Plan) -> Sends:
    """To users who are away, found again by reading their unread counts."""
    with workshop.rig(SSE_HUB) as rig:
        sent = send_batches(rig.server, _bodies(plan, "persisted-", persist=True), plan.batch)
        with rig.server.connect() as connection:
            found = sum(unread(connection, user(number)) for number in range(plan.batch))
    return Sends(
        sent=plan.batches * plan.batch,
        found=found,
        seconds=(sent.answered_ns - sent.began_ns) / 1e9,
        server_cpu_seconds=sent.server_cpu_seconds,
    )


def ephemeral_batches(workshop: Workshop, plan: Plan) -> Sends:
    """To users with one open stream each, found again on these streams."""
    mark = "ephemeral-"
    with workshop.rig(SSE_HUB) as rig:
        rig.open_up_to(plan.batch)
        rig.load.mark(mark)
        sent = send_batches(rig.server, _bodies(plan, mark, persist=False), plan.batch)
        receipts = rig.load.count(plan.batches * plan.batch)
    check_each_came(receipts, plan.batches, plan.batch)
    return Sends(
        sent=plan.batches * plan.batch,
        found=len(receipts.numbers),
        seconds=(max(receipts.times_ns) - sent.began_ns) / 1e9,
        server_cpu_seconds=sent.server_cpu_seconds,
    )


def in_process_to_streams(workshop: Workshop, plan: Plan) -> Sends:
    """To users each with a stream over HTTP to the program that sends, found again on these streams."""
    mark = "in-process-"
    with workshop.rig(IN_PROCESS) as rig:
        rig.open_up_to(plan.streams)
        rig.load.mark(mark)
        began_ns, _, cpu_seconds = _publish_inside(rig.server, plan, mark)
        receipts = rig.load.count(plan.in_process)
    check_each_came(receipts, plan.in_process, 1)
    return Sends(
        sent=plan.in_process,
        found=len(receipts.numbers),
        seconds=(max(receipts.times_ns) - began_ns) / 1e9,
        server_cpu_seconds=cpu_seconds,
    )


def in_process_to_listeners(workshop: Workshop, plan: Plan) -> Sends:
    """To users who read in the program that sends; it waits until they have read all."""
    with workshop.rig(IN_PROCESS) as rig:
        with rig.server.connect() as connection:
            for first in range(0, plan.streams, _LISTENERS_AT_ONCE):
                until = min(first + _LISTENERS_AT_ONCE, plan.streams)
                post(connection, f"/listen?first={first}&until={until}", b"")
                answer(connection)
        began_ns, ended_ns, cpu_seconds = _publish_inside(rig.server, plan, "in-process-")
    return Sends(
        sent=plan.in_process,
        found=plan.in_process,
        seconds=(ended_ns - began_ns) / 1e9,
        server_cpu_seconds=cpu_seconds,
    )


def _publish_inside(server: MeasuredServer, plan: Plan, mark: str) -> tuple[int, int, float]:
    """When the program began and ended (monotonic nanoseconds), and its CPU seconds."""
    order = {"users": plan.streams, "mark": mark, "text": json.loads(payload(mark))["text"]}
    sent = []
    with server.connect() as connection:
        cpu_before = server.cpu_seconds_at_rest()
        for first in range(0, plan.in_process, _IN_PROCESS_AT_ONCE):
            part = {"first": first, "until": min(first + _IN_PROCESS_AT_ONCE, plan.in_process)}
            post(connection, "/publish", json.dumps(order | part).encode())
            sent.append(json.loads(answer(connection)))
        return sent[0]["began_ns"], sent[-1]["ended_ns"], server.cpu_seconds_at_rest() - cpu_before


def _bodies(plan: Plan, mark: str, *, persist: bool) -> list[bytes]:
    """All batches, each with its number in the mark."""
    return [batch_to_users(plan.batch, f"{mark}{number}", persist=persist) for number in range(plan.batches)]
