"""What every report is made of: the circumstances of the run, what is to be reached, and tables of figures."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

Row = tuple[str, Sequence[str], str]
"""A label, a figure for each column, and the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One figure and its bound, at least or at most; `form` formats both."""

    figure: str
    measured: float
    bound: float
    at_least: bool
    form: str

    @property
    def met(self) -> bool:
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


def circumstances(title: str, packages: Sequence[str], *remarks: str) -> str:
    """The head of a page: when, on what, with which versions of these installed packages and of whatever the remarks
    tell.
    """
    cores = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"
    return "\n".join(
        [
            f"# {title}",
            "",
            f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            f"- {_processor()}, {cores}, {platform.system()} {platform.release()}",
            f"- {platform.python_implementation()} {platform.python_version()}",
            "- " + ", ".join(f"{package} {version(package)}" for package in packages),
            *(f"- {remark}" for remark in remarks),
        ]
    )


def table(title: str, names: Sequence[str], rows: Sequence[Row]) -> str:
    """A section with one table; `names` head its columns."""
    lines = [f"| | {' | '.join(names)} | target |", f"|---|{'---:|' * len(names)}---|"]
    lines += [f"| {label} | {' | '.join(cells)} | {target} |" for label, cells, target in rows]
    return f"## {title}\n\n" + "\n".join(lines)


def plain_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A section with one table without targets."""
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    return f"## {title}\n\n" + "\n".join(lines)


def goals_table(goals: Iterable[Goal]) -> str:
    """The section that tells what was to be reached, and whether it was."""
    rows = [
        [
            goal.figure,
            goal.form.format(goal.measured),
            f"{'≥' if goal.at_least else '≤'} {goal.form.format(goal.bound)}",
            "yes" if goal.met else "**no**",
        ]
        for goal in goals
    ]
    return plain_table("Goals of sse-hub", ["", "measured", "goal", "met"], rows)


def each(values: Sequence[float], form: str) -> list[str]:
    """Cells of one row, all in the same format."""
    return [format(value, form) for value in values]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
