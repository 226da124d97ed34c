"""The report: the figures as a page of Markdown, next to their targets. Whether they are enough is for its
reader.
"""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from bench.figures import FanOut, Round, Sends, SteadyState
from bench.scenarios import Plan
from bench.targets import BARE_ASGI, PAYLOAD_BYTES, SERVER_SENT_EVENT

_KIB = 1024
_PACKAGES = ("sse-hub", "litestar", "uvicorn", "uvloop", "httptools", "msgspec", "SQLAlchemy", "aiosqlite")
_TARGET_STREAM = "≤ 16 KiB"
_TARGET_DELIVERY = "≤ 15 µs"
_TARGET_SENDS = "≥ 5,000 persisted"

_Row = tuple[str, Sequence[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that one run measured, by the name of the target; what was left out is empty."""

    plan: Plan
    fan_out: Mapping[str, FanOut]
    sends: Mapping[str, Sends]
    steady: Mapping[str, SteadyState]


def render(results: Results) -> str:
    """The whole page."""
    plan = results.plan
    sections = [_circumstances()]
    if results.fan_out:
        singles = {name: figures.singles for name, figures in results.fan_out.items()}
        bursts = {name: figures.bursts for name, figures in results.fan_out.items()}
        to_all = f"{PAYLOAD_BYTES} bytes to {plan.streams:,} streams"
        sections += [
            _streams(results),
            _broadcasts(f"One broadcast at a time, {to_all}", singles),
            _broadcasts(f"Bursts of {plan.burst} broadcasts, {to_all}", bursts),
        ]
    if results.sends:
        sections.append(_sends(results.sends))
    if results.steady:
        sections.append(_steady(results.steady))
    return "\n\n".join(sections) + "\n"


def _circumstances() -> str:
    cores = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"
    return "\n".join(
        [
            "# Benchmark",
            "",
            f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            f"- {_processor()}, {cores}, {platform.system()} {platform.release()}",
            f"- {platform.python_implementation()} {platform.python_version()}",
            "- " + ", ".join(f"{package} {version(package)}" for package in _PACKAGES),
            "- over loopback, the server on one core, load and publisher on the other; CPU is the server's",
        ]
    )


def _streams(results: Results) -> str:
    columns = list(results.fan_out.values())
    memory = [figures.bytes_per_stream / _KIB for figures in columns]
    return _table(
        f"An idle stream, of {results.plan.streams:,}",
        list(results.fan_out),
        [
            ("memory (PSS), KiB", _each(memory, ".1f"), _TARGET_STREAM),
            *_ratios("memory", memory, list(results.fan_out)),
            ("CPU to open, µs", _each([figures.cpu_us_per_open for figures in columns], ".0f"), ""),
        ],
    )


def _broadcasts(title: str, columns: Mapping[str, Sequence[Round]]) -> str:
    def medians(figure: Callable[[Round], float]) -> list[float]:
        return [median(map(figure, rounds)) for rounds in columns.values()]

    cpu = medians(lambda r: r.cpu_us_per_delivery)
    rounds = len(next(iter(columns.values())))
    return _table(
        f"{title}, medians of {rounds} rounds",
        list(columns),
        [
            ("CPU per delivery, µs", _each(cpu, ".1f"), _TARGET_DELIVERY),
            *_ratios("CPU", cpu, list(columns)),
            ("deliveries per second", _each(medians(lambda r: r.deliveries_per_second), ",.0f"), ""),
            ("POST to receipt, p50, ms", _each(medians(lambda r: r.latency_ms_p50), ".1f"), ""),
            ("POST to receipt, p99, ms", _each(medians(lambda r: r.latency_ms_p99), ".1f"), ""),
            ("POST to receipt, max, ms", _each(medians(lambda r: r.latency_ms_max), ".1f"), ""),
            ("load process busy", _each(medians(lambda r: r.client_busy), ".0%"), ""),
        ],
    )


def _sends(sends: Mapping[str, Sends]) -> str:
    columns = list(sends.values())
    return _table(
        "Sends to single users through `/send/batch`, on SQLite",
        list(sends),
        [
            ("sends per second", _each([s.sent / s.seconds for s in columns], ",.0f"), _TARGET_SENDS),
            ("messages sent", _each([s.sent for s in columns], ",d"), ""),
            ("messages found again", _each([s.found for s in columns], ",d"), "all"),
            ("CPU per send, µs", _each([s.server_cpu_seconds * 1e6 / s.sent for s in columns], ".1f"), ""),
        ],
    )


def _steady(steady: Mapping[str, SteadyState]) -> str:
    columns = list(steady.values())
    first = [s.memory_bytes[0] / _KIB**2 for s in columns]
    last = [s.memory_bytes[-1] / _KIB**2 for s in columns]
    return _table(
        f"Steady state, memory (PSS) over {len(columns[0].memory_bytes)} equal rounds",
        list(steady),
        [
            ("deliveries per round", _each([s.deliveries_per_round for s in columns], ",d"), ""),
            ("reconnects per round", _each([s.reconnects_per_round for s in columns], ",d"), ""),
            ("after the first round, MiB", _each(first, ".2f"), ""),
            ("after the last round, MiB", _each(last, ".2f"), ""),
            (
                "slope, KiB per round",
                _each([s.slope_bytes_per_round / _KIB for s in columns], "+.1f"),
                "none",
            ),
        ],
    )


def _ratios(label: str, values: Sequence[float], names: Sequence[str]) -> list[_Row]:
    return [
        (f"{label}, × {name}", _each([value / values[names.index(name)] for value in values], ".2f"), "")
        for name in (BARE_ASGI.name, SERVER_SENT_EVENT.name)
        if name in names
    ]


def _each(values: Sequence[float], form: str) -> list[str]:
    return [format(value, form) for value in values]


def _table(title: str, names: Sequence[str], rows: Sequence[_Row]) -> str:
    lines = [f"| | {' | '.join(names)} | target |", f"|---|{'---:|' * len(names)}---|"]
    lines += [f"| {label} | {' | '.join(cells)} | {target} |" for label, cells, target in rows]
    return f"## {title}\n\n" + "\n".join(lines)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
