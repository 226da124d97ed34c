"""What several nodes are to reach, next to what one run measured."""

from collections.abc import Iterator
from statistics import median

from bench.nodes.figures import ManyStreams, Results, ThreeNodes, latency_ms
from bench.nodes.plan import DESCRIPTORS, ManyPlan, ThreePlan
from bench.nodes.three import EPHEMERAL, NODES, PERSISTED, TICK
from bench.page import Goal

KINDS = {False: "ephemeral", True: "persisted"}


def goals(results: Results) -> Iterator[Goal]:
    """Those whose figures were measured."""
    if results.many is not None:
        yield from _many(results.many, results.many_plan)
    if results.three is not None:
        yield from _three(results.three, results.three_plan)


def _many(many: ManyStreams, plan: ManyPlan) -> Iterator[Goal]:
    open_at_once = f"streams open at once over {plan.workers} workers"
    yield Goal(figure=open_at_once, measured=many.streams, bound=plan.streams, at_least=True, form="{:,.0f}")
    most = max(worker.descriptors for worker in many.workers)
    yield Goal(
        figure="descriptors of the fullest worker", measured=most, bound=DESCRIPTORS, at_least=False, form="{:,.0f}"
    )
    for rounds, kind in ((many.ephemeral, KINDS[False]), (many.persisted, KINDS[True])):
        yield Goal(
            figure=f"streams that had each {kind} broadcast, and had it once",
            measured=min(len(each.latencies_ms) for each in rounds),
            bound=plan.streams,
            at_least=True,
            form="{:,.0f}",
        )


def _three(three: ThreeNodes, plan: ThreePlan) -> Iterator[Goal]:
    for persist, figures in three.fan_out.items():
        yield Goal(
            figure=f"CPU per delivery, {KINDS[persist]} broadcasts, {plan.streams:,} streams a node: the dearest node",
            measured=max(map(figures.ratio, range(NODES))),
            bound=1.1,
            at_least=False,
            form="{:.2f} × that of a single node",
        )
    for requests, rounds in list(three.notes.items())[:1]:
        yield Goal(
            figure=f"CPU of a node to be told of a commit, {requests.per_second:,} a second",
            measured=median(each.cpu_us_per_note for each in rounds),
            bound=50,
            at_least=False,
            form="{:.0f} µs",
        )
    for name, share, bound, what in (
        (EPHEMERAL, 0.99, 10, "p99"),
        (PERSISTED, 0.99, 10, "p99"),
        (TICK, 1, 1100, "the greatest: a tick of 1 s, and the read"),
    ):
        if name in three.crossings:
            yield Goal(
                figure=f"publish to receipt, {plan.per_second:,} messages/s, {name}: {what}",
                measured=latency_ms(three.crossings[name], share),
                bound=bound,
                at_least=False,
                form="{:,.1f} ms",
            )
