"""The report: a page of Markdown that begins with the goals; every table after it is one scenario."""

import os
from collections.abc import Mapping, Sequence
from statistics import median

from bench.page import circumstances, goals_table, plain_table
from bench.streams.figures import FanOut, Idle, Results, Round, Sends, SteadyState, Unicast
from bench.streams.goals import goals
from bench.streams.servers import nchan
from bench.streams.targets import C_FLOOR, NCHAN, PAYLOAD_BYTES

_KIB = 1024
_MIB = 1024 * 1024
_PACKAGES = (
    *("sse-hub", "litestar", "sse-starlette", "starlette", "uvicorn", "uvloop", "httptools", "msgspec"),
    *("SQLAlchemy", "aiosqlite"),
)
_PINNED = "over loopback, the servers on one core, load and publisher on the other; CPU is the server's"


def render(results: Results, *, left_out: Sequence[str], pictures: Mapping[str, str]) -> str:
    """The whole page. `left_out` says what was not measured and why, `pictures` are files beside the page, by title."""
    remarks = [_PINNED, f"load average of the machine at the end: {os.getloadavg()[2]:.1f} over 15 minutes"]
    if NCHAN.name in results.fan_out:
        remarks.append(nchan.version())
    remarks += [f"left out: {each}" for each in left_out]
    sections = [circumstances("Streams", _PACKAGES, *remarks), goals_table(goals(results))]
    sections += [f"![{title}]({file})" for title, file in pictures.items()]
    if results.fan_out:
        sections += _fan_out(results)
    if results.idle is not None:
        sections.append(_idle(results.idle))
    if results.unicast is not None:
        sections.append(_unicast(results.unicast))
    if results.sends:
        sections.append(_sends(results.sends))
    if results.steady:
        sections.append(_steady(results.steady))
    return "\n\n".join(sections) + "\n"


def _fan_out(results: Results) -> Sequence[str]:
    plan = results.plan
    of_each = results.fan_out
    to_all = f"{PAYLOAD_BYTES} bytes to {plan.streams:,} streams"
    singles = {name: figures.main.rounds for name, figures in of_each.items()}
    bursts = {name: figures.bursts for name, figures in of_each.items()}
    sizes = [f"{size:,}" for size in plan.sizes]
    return [
        _broadcasts(f"One broadcast at a time, {to_all}, medians of {plan.rounds} rounds", singles),
        _broadcasts(f"Bursts of {plan.burst} broadcasts, {to_all}, medians of {plan.bursts} rounds", bursts),
        plain_table(
            f"CPU per delivery of one broadcast at a time, µs, by streams; medians of {plan.growth_rounds} rounds",
            ["", *sizes],
            [
                [name, *(f"{size.cpu_us_per_delivery:.1f}" for size in figures.sizes)]
                for name, figures in of_each.items()
            ],
        ),
        plain_table(
            "Memory (PSS) of the server, MiB, by idle streams",
            ["", f"KiB per stream, of {plan.streams:,}", *sizes],
            [[name, *_memory(figures)] for name, figures in of_each.items()],
        ),
    ]


def _broadcasts(title: str, of_each: Mapping[str, Sequence[Round]]) -> str:
    cpu = {name: median(each.cpu_us_per_delivery for each in rounds) for name, rounds in of_each.items()}
    compared = [name for name in (NCHAN.name, C_FLOOR.name) if name in of_each]
    rows = [
        [
            name,
            f"{cpu[name]:.1f}",
            *(f"{cpu[name] / cpu[other]:.2f}" for other in compared),
            f"{median(each.deliveries_per_second for each in rounds):,.0f}",
            *(f"{median(each.latency_ms(share) for each in rounds):.1f}" for share in (0.5, 0.99, 1)),
            f"{median(each.load_busy for each in rounds):.0%}",
            f"{median(each.load_cpu_us_per_delivery for each in rounds):.2f}",
        ]
        for name, rounds in of_each.items()
    ]
    ratios = [f"× {other}" for other in compared]
    latencies = ["POST to receipt, p50, ms", "p99, ms", "max, ms"]
    return plain_table(
        title,
        [
            "",
            "CPU per delivery, µs",
            *ratios,
            "deliveries/s",
            *latencies,
            "load process busy",
            "its CPU per delivery, µs",
        ],
        rows,
    )


def _memory(figures: FanOut) -> Sequence[str]:
    return [f"{figures.bytes_per_stream / _KIB:.1f}", *(f"{size.memory_bytes / _MIB:.1f}" for size in figures.sizes)]


def _idle(idle: Idle) -> str:
    rows = [
        ["streams opened per second", f"{idle.opened_per_second:,.0f}"],
        ["the server's CPU to open one, µs", f"{idle.opening_cpu_seconds * 1e6 / idle.streams:.0f}"],
        ["the load's CPU to open one, µs", f"{idle.opening_load_cpu_seconds * 1e6 / idle.streams:.0f}"],
        ["heartbeats, seconds between", f"{idle.heartbeat_seconds}"],
        [f"the server's CPU over {idle.heartbeat_window_seconds:.0f} s of nothing else", f"{idle.heartbeat_share:.2%}"],
    ]
    return plain_table(f"{idle.streams:,} streams of sse-hub, opened at once, then idle", ["", ""], rows)


def _unicast(unicast: Unicast) -> str:
    rows = [
        ["messages", f"{len(unicast.latencies_ms):,}"],
        *([f"{name}, ms", f"{unicast.latency_ms(share):.2f}"] for name, share in _PERCENTILES.items()),
        ["server busy", f"{unicast.server_busy:.0%}"],
    ]
    title = f"Unicast at {unicast.per_second:,} messages/s among {unicast.streams:,} streams of sse-hub"
    return plain_table(f"{title}, due to receipt", ["", ""], rows)


_PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def _sends(sends: Mapping[str, Sends]) -> str:
    rows = [
        [
            name,
            f"{each.per_second:,.0f}",
            f"{each.server_cpu_seconds * 1e6 / each.sent:.1f}",
            f"{each.sent:,}",
            f"{each.found:,}",
        ]
        for name, each in sends.items()
    ]
    heads = ["", "messages/s", "CPU per message, µs", "sent", "found again"]
    return plain_table("As many sends to single users as sse-hub takes", heads, rows)


def _steady(steady: Mapping[str, SteadyState]) -> str:
    rows = [
        [
            name,
            f"{each.deliveries_per_round:,}",
            f"{each.reconnects_per_round:,}",
            f"{each.memory_bytes[0] / _MIB:.2f}",
            f"{each.memory_bytes[-1] / _MIB:.2f}",
            f"{each.slope_bytes_per_round / _KIB:+.1f}",
        ]
        for name, each in steady.items()
    ]
    heads = ["", "deliveries per round", "reconnects per round", "after the first, MiB", "after the last, MiB"]
    rounds = len(next(iter(steady.values())).memory_bytes)
    return plain_table(f"Steady state, memory (PSS) over {rounds} equal rounds", [*heads, "slope, KiB per round"], rows)
