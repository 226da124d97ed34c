"""The figures as pictures, one SVG file each."""

from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.streams.figures import FanOut, Results, percentile
from bench.streams.targets import SSE_HUB, SSE_HUB_PERSISTED

_INCHES = (8, 4.5)
_MIB = 1024 * 1024
# Enough points for a smooth line, which all deliveries of a run would make unreadably large.
_SHARES = [number / 200 for number in range(1, 201)]
_OWN = (SSE_HUB.name, SSE_HUB_PERSISTED.name)


def draw(results: Results, page: Path) -> Mapping[str, str]:
    """Write the pictures beside the page; their names by their titles."""
    drawings: Mapping[str, tuple[str, Callable[[Axes, Results], None]]] = {
        f"One broadcast to {results.plan.streams:,} streams: latency": ("latency", _latency),
        "CPU per delivery, by streams": ("cpu", _cpu),
        "Memory of the server, by idle streams": ("memory", _memory),
    }
    names = {}
    for title, (suffix, drawing) in drawings.items():
        figure = Figure(figsize=_INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.grid(alpha=0.3)
        drawing(axes, results)
        axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
        names[title] = f"{page.stem}-{suffix}.svg"
        # Text stays text, and the same figures give the same file.
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sse-hub"}):
            figure.savefig(page.with_name(names[title]), format="svg", metadata={"Date": None})
    return names


def _latency(axes: Axes, results: Results) -> None:
    for name, figures in results.fan_out.items():
        pooled = sorted(latency for each in figures.main.rounds for latency in each.latencies_ms)
        axes.plot([percentile(pooled, share) for share in _SHARES], _SHARES, label=name, linewidth=_width(name))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("ms from POST to receipt")
    axes.set_ylabel("share of the deliveries")


def _cpu(axes: Axes, results: Results) -> None:
    _by_streams(axes, results, lambda figures: [size.cpu_us_per_delivery for size in figures.sizes])
    axes.set_ylabel("µs")


def _memory(axes: Axes, results: Results) -> None:
    _by_streams(axes, results, lambda figures: [size.memory_bytes / _MIB for size in figures.sizes])
    axes.set_ylabel("MiB (PSS)")


def _by_streams(axes: Axes, results: Results, values: Callable[[FanOut], list[float]]) -> None:
    for name, figures in results.fan_out.items():
        streams = [size.streams for size in figures.sizes]
        axes.plot(streams, values(figures), marker="o", markersize=3, label=name, linewidth=_width(name))
    axes.set_ylim(bottom=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(results.plan.growth), [f"{streams:,}" for streams in results.plan.growth])
    axes.set_xlabel("streams")


def _width(name: str) -> float:
    return 2.5 if name in _OWN else 1.2
