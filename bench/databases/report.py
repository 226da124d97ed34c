"""The report: the figures as a page of Markdown, next to their targets. Whether they are enough is for its reader."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.databases.appends import USERS
from bench.databases.figures import Appending, Figures, Latency, Sends
from bench.databases.scenarios import Plan
from bench.page import Row, circumstances, each, table
from bench.streams.targets import PAYLOAD_BYTES
from sse_app.sequencer import COMMIT_ENTRIES

_PACKAGES = ("sse-hub", "SQLAlchemy", "aiosqlite", "asyncpg", "asyncmy", "uvloop")
_PINNED = (
    "this process, which drives everything and makes the appends itself, on one core, `sse-hub serve` on the other; "
    "a database server where it happens to run, which takes from both"
)
_NONE = "–"
_TARGET_RATIO = "≥ 0.50"
_TARGET_SENDS = "≥ 15,000 on PostgreSQL"
_TARGET_UNREAD = "≤ 5 on PostgreSQL"
_TARGET_RESUME = "about 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that one run measured, by the name of the database; remarks are for the page's head."""

    plan: Plan
    remarks: Sequence[str]
    figures: Mapping[str, Figures]


def render(results: Results) -> str:
    """The whole page."""
    sections = [circumstances("Databases", _PACKAGES, _PINNED, *results.remarks)]
    if results.figures:
        sections += [_appends(results), _sends(results), _unread(results), _resumes(results)]
    return "\n\n".join(sections) + "\n"


def _appends(results: Results) -> str:
    columns = [figures.appends for figures in results.figures.values()]
    rows: list[Row] = []

    def of_each_way(ways: Iterable[str], label: str, rounds_of: Callable[[int, str], Sequence[Appending]]) -> None:
        for way in ways:
            found = [rounds_of(column, way) for column in range(len(columns))]
            rates = [_middle((one.per_second for one in rounds), ",.0f") for rounds in found]
            cpu = [_middle((one.cpu_seconds * 1e6 / one.messages for one in rounds), ".1f") for rounds in found]
            rows.append((f"{label} {way}, messages per second", rates, ""))
            rows.append((f"{label} {way}, µs of CPU a message", cpu, ""))

    of_each_way(_all_of(c.own for c in columns), "driver,", lambda column, way: columns[column].own.get(way, ()))
    ways = _all_of(c.sequencer for c in columns)
    of_each_way(ways, "sequencer,", lambda column, way: columns[column].sequencer[way])
    rows.append(("the driver's fastest way", [c.fastest for c in columns], ""))
    for way in ways:
        rows.append(
            (
                f"sequencer, {way}, × the driver's fastest way",
                each([c.ratio(way) for c in columns], ".2f"),
                _TARGET_RATIO,
            )
        )
        together = each([c.messages_a_transaction[way] for c in columns], ".0f")
        rows.append((f"sequencer, {way}, messages a transaction", together, str(COMMIT_ENTRIES)))
    return table(
        f"{PAYLOAD_BYTES} bytes to each of {USERS:,} users, {COMMIT_ENTRIES} messages a transaction, medians of "
        f"{results.plan.append_rounds} rounds of {results.plan.transactions * COMMIT_ENTRIES:,}",
        list(results.figures),
        rows,
    )


def _sends(results: Results) -> str:
    columns = [figures.sends for figures in results.figures.values()]

    def medians(figure: Callable[[Sends], float | None], form: str) -> list[str]:
        return [_middle((value for one in c.rounds if (value := figure(one)) is not None), form) for c in columns]

    def database_cpu(sends: Sends) -> float | None:
        used = sends.database_cpu_seconds
        return None if used is None else used * 1e6 / sends.messages

    return table(
        f"Persisted sends to single users through `/send/batch`, {results.plan.batch:,} a batch, medians of "
        f"{results.plan.send_rounds} rounds of {results.plan.batches * results.plan.batch:,}",
        list(results.figures),
        [
            ("sends per second", medians(lambda one: one.messages / one.seconds, ",.0f"), _TARGET_SENDS),
            ("CPU of the hub per send, µs", medians(lambda one: one.hub_cpu_seconds * 1e6 / one.messages, ".1f"), ""),
            ("CPU of its connections in the database server per send, µs", medians(database_cpu, ".1f"), ""),
            ("messages sent", each([c.sent for c in columns], ",d"), ""),
            ("messages found again", each([c.found for c in columns], ",d"), "all"),
        ],
    )


def _unread(results: Results) -> str:
    columns = [figures.unread for figures in results.figures.values()]

    def medians(way: str, figure: Callable[[Latency], float]) -> list[str]:
        return [_middle(map(figure, column[way]), ".2f") for column in columns]

    rows: list[Row] = []
    for way in _all_of(columns):
        rows.append((f"{way}, p50, ms", medians(way, lambda latency: latency.p50), ""))
        rows.append((f"{way}, p99, ms", medians(way, lambda latency: latency.p99), _TARGET_UNREAD))
        rows.append(
            (f"{way}, failed in all rounds", each([sum(one.failed for one in c[way]) for c in columns], "d"), "0")
        )
    return table(
        f"Unread counts in a log of {results.plan.long_log:,} messages, of {results.plan.reads:,} users one after "
        f"another, medians of {results.plan.unread_rounds} rounds",
        list(results.figures),
        rows,
    )


def _resumes(results: Results) -> str:
    columns = [figures.resumes for figures in results.figures.values()]
    short, long = f"{results.plan.short_log:,}", f"{results.plan.long_log:,}"
    rows: list[Row] = []
    for missed in results.plan.missed:
        resumes = [column[missed] for column in columns]
        rows.append((f"{missed:,} missed, of {short}, ms", each([median(one.short) for one in resumes], ".1f"), ""))
        rows.append((f"{missed:,} missed, of {long}, ms", each([median(one.long) for one in resumes], ".1f"), ""))
        rows.append(
            (
                f"{missed:,} missed, the long log × the short",
                each([one.ratio for one in resumes], ".2f"),
                _TARGET_RESUME,
            )
        )
    return table(
        "A resumed stream, from its request to the last missed message, medians of "
        f"{results.plan.resume_rounds} rounds",
        list(results.figures),
        rows,
    )


def _all_of(ways: Iterable[Mapping[str, object]]) -> list[str]:
    """The names of all, each once."""
    return list(dict.fromkeys(name for mapping in ways for name in mapping))


def _middle(values: Iterable[float], form: str) -> str:
    found = list(values)
    return format(median(found), form) if found else _NONE
