"""The report: a page of Markdown that begins with the goals; every table after it is one scenario."""

import os
from collections.abc import Iterable, Sequence
from statistics import mean, median

from bench.nodes.figures import ManyStreams, Results, ThreeNodes, cpu_us_per_delivery, latency_ms
from bench.nodes.goals import KINDS, goals
from bench.nodes.plan import DESCRIPTORS, ManyPlan, ThreePlan
from bench.nodes.three import NODES
from bench.page import circumstances, goals_table, plain_table
from bench.streams.figures import Round
from bench.streams.targets import PAYLOAD_BYTES

_KIB = 1024
_MIB = 1024 * 1024
_PACKAGES = (
    *("sse-hub", "litestar", "uvicorn", "uvloop", "httptools", "msgspec", "SQLAlchemy", "asyncpg", "aiosqlite"),
    *("redis", "hiredis"),
)
_LATENCIES = ["POST to receipt, p50, ms", "p99, ms", "last, ms"]


def render(results: Results) -> str:
    """The whole page."""
    load_average = f"load average of the machine at the end: {os.getloadavg()[2]:.1f} over 15 minutes"
    sections = [circumstances("Several nodes", _PACKAGES, *results.remarks, load_average), goals_table(goals(results))]
    if results.many is not None:
        sections += _many(results.many, results.many_plan)
    if results.three is not None:
        sections += _three(results.three, results.three_plan)
    return "\n\n".join(sections) + "\n"


def _many(many: ManyStreams, plan: ManyPlan) -> Iterable[str]:
    opened = many.streams - many.streams_before
    opening, idle = many.opening, many.idle

    def memory(hub: int, redis: int, process: int) -> str:
        return f"{hub / _MIB:,.0f}, {redis / _MIB:.1f}, {process / _MIB:.1f}"

    before, during, after = (
        memory(each.hub, each.redis, each.redis_process)
        for each in (many.memory_before, many.memory, many.memory_after)
    )
    title = f"{plan.streams:,} streams over {plan.workers} workers"
    yield plain_table(
        f"{title}, opened at once, then idle",
        ["", ""],
        [
            ["streams open", f"{many.streams:,}"],
            ["of them the workers have told each other of", f"{many.reported:,}"],
            ["seconds until all were open", f"{opening.seconds:.1f}"],
            ["streams opened per second", f"{opened / opening.seconds:,.0f}"],
            ["CPU to open one, µs: the hub's", f"{opening.hub * 1e6 / opened:.0f}"],
            ["… Redis'", f"{opening.redis * 1e6 / opened:.0f}"],
            ["… the load's", f"{opening.load * 1e6 / opened:.0f}"],
            [f"memory, MiB: hub, Redis, its process; with {many.streams_before} streams", before],
            [f"… with {many.streams:,}", during],
            ["… after all broadcasts", after],
            ["memory of the hub per idle stream, KiB", f"{many.hub_bytes_per_stream / _KIB:.2f}"],
            ["… per stream after all broadcasts, KiB", f"{_after(many) / _KIB:.2f}"],
            ["memory of Redis per stream, bytes", f"{many.redis_bytes_per_stream:.0f}"],
            [
                f"with heartbeats every {plan.heartbeat_seconds} s the hub uses of a core",
                f"{idle.hub / idle.seconds:.1%}",
            ],
            ["… Redis", f"{idle.redis / idle.seconds:.1%}"],
            ["… the load", f"{idle.load / idle.seconds:.1%}"],
        ],
    )
    streams = [worker.streams for worker in many.workers]
    yield plain_table(
        f"The workers, the fullest first: {mean(streams):,.0f} streams on average, {DESCRIPTORS:,} descriptors allowed",
        ["", *(str(number) for number in range(1, len(streams) + 1))],
        [
            ["streams", *(f"{count:,}" for count in streams)],
            ["of the mean", *(f"{count / mean(streams):.1%}" for count in streams)],
            ["descriptors", *(f"{worker.descriptors:,}" for worker in many.workers)],
            ["memory (PSS), MiB", *(f"{worker.memory_bytes / _MIB:.0f}" for worker in many.workers)],
        ],
    )
    recording = median(many.recording) * 1e6 / many.streams
    yield plain_table(
        f"One broadcast at a time, {PAYLOAD_BYTES} bytes to {plan.streams:,} streams, medians of {plan.rounds} rounds",
        ["", "reached", "CPU per delivery, µs", *_LATENCIES, "the load's CPU per delivery, µs", "to record it, µs"],
        [
            [KINDS[False], *_broadcast(many.ephemeral), "–"],
            [KINDS[True], *_broadcast(many.persisted), f"{recording:.1f}"],
        ],
    )


def _broadcast(rounds: Sequence[Round]) -> Sequence[str]:
    return [
        f"{min(len(each.latencies_ms) for each in rounds):,}",
        f"{cpu_us_per_delivery(rounds):.1f}",
        *(f"{median(each.latency_ms(share) for each in rounds):,.0f}" for share in (0.5, 0.99, 1)),
        f"{median(each.load_cpu_us_per_delivery for each in rounds):.2f}",
    ]


def _after(many: ManyStreams) -> float:
    return (many.memory_after.hub - many.memory_before.hub) / (many.streams - many.streams_before)


def _three(three: ThreeNodes, plan: ThreePlan) -> Iterable[str]:
    names = ["a single node", "of three, the one it was sent to", *["of three, another"] * (NODES - 1)]
    for persist, figures in three.fan_out.items():
        rounds_of = [figures.single, *figures.nodes]
        yield plain_table(
            f"One {KINDS[persist]} broadcast at a time, {PAYLOAD_BYTES} bytes to {plan.streams:,} streams a node, "
            f"medians of {plan.rounds} rounds",
            ["", "CPU per delivery, µs", "× single", *_LATENCIES, "load process busy", "its CPU per delivery, µs"],
            [
                [
                    name,
                    f"{cpu_us_per_delivery(rounds):.1f}",
                    f"{cpu_us_per_delivery(rounds) / cpu_us_per_delivery(figures.single):.2f}",
                    *(f"{median(each.latency_ms(share) for each in rounds):.1f}" for share in (0.5, 0.99, 1)),
                    f"{median(each.load_busy for each in rounds):.0%}",
                    f"{median(each.load_cpu_us_per_delivery for each in rounds):.2f}",
                ]
                for name, rounds in zip(names, rounds_of, strict=True)
            ],
        )
    if three.crossings:
        yield _crossings(three, plan)
    if three.notes:
        yield _notes(three, plan)


def _crossings(three: ThreeNodes, plan: ThreePlan) -> str:
    rows = []
    for name, rounds in three.crossings.items():
        shares = zip(*((e.sender_busy, e.receiver_busy, e.load_busy, e.publisher_busy) for e in rounds), strict=True)
        rows.append(
            [
                name,
                *(f"{latency_ms(rounds, share):,.2f}" for share in (0.5, 0.99, 0.999, 1)),
                *(f"{median(share):.0%}" for share in shares),
            ]
        )
    return plain_table(
        f"Messages to one user each, {plan.per_second:,} a second, due to receipt, medians of {plan.latency_rounds} "
        f"rounds of {plan.latency_seconds:g} s",
        ["", "p50, ms", "p99, ms", "p99.9, ms", "max, ms", "node sent to", "node received on", "load", "publisher"],
        rows,
    )


def _notes(three: ThreeNodes, plan: ThreePlan) -> str:
    rows = []
    for requests, rounds in three.notes.items():
        rows.append(
            [
                f"{requests.messages:,} in each of {requests.per_second:,} requests a second",
                f"{median(each.notes / each.seconds for each in rounds):,.0f}",
                f"{median(each.messages / each.notes for each in rounds):.1f}",
                f"{median(each.cpu_us_per_note for each in rounds):.0f}",
                f"{median(each.cpu_seconds * 1e6 / each.messages for each in rounds):.1f}",
                f"{median(each.cpu_seconds / each.seconds for each in rounds):.1%}",
            ]
        )
    return plain_table(
        f"What a node without anybody to give them to uses for another's commits, medians of {plan.note_rounds} rounds "
        f"of {plan.note_seconds:g} s; with nothing to do it uses {median(three.idle[1:]):.1%} of a core",
        ["persisted messages", "notes/s", "messages a note", "µs a note", "µs a message", "of a core"],
        rows,
    )
