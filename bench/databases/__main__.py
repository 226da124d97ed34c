"""`python -m bench.databases`: measure each kind of database that there is and write the report."""

import argparse
import asyncio
import sys
from pathlib import Path

import uvloop

from bench.databases.report import Results, render
from bench.databases.scenarios import Bench, Plan
from bench.databases.sites import circumstances_of, missing, name_of
from bench.page import RESULTS
from bench.process import Cores, pinned_to
from tests.support import databases
from tests.support.hub_databases import DURABLE

_FULL = Plan(
    append_rounds=11,
    transactions=50,
    send_rounds=5,
    batches=50,
    batch=1000,
    short_log=100_000,
    long_log=1_000_000,
    unread_rounds=3,
    reads=2000,
    resume_rounds=21,
    missed=(10, 100, 1000),
)
_QUICK = Plan(
    append_rounds=2,
    transactions=4,
    send_rounds=2,
    batches=4,
    batch=100,
    short_log=20_000,
    long_log=40_000,
    unread_rounds=2,
    reads=50,
    resume_rounds=2,
    missed=(10, 100),
)
_LATEST = RESULTS / "databases.md"


def main() -> None:
    """Parse the command line, measure, print the report and write it to a file."""
    arguments = _parse()
    plan = _QUICK if arguments.quick else _FULL
    try:
        # Here, so that a private server may use every core.
        without = {kind: reason for kind in arguments.kind if (reason := missing(kind)) is not None}
        kinds = [kind for kind in arguments.kind if kind not in without]
        cores = Cores.available()
        # As the server does it, for the application runs in this process too.
        with pinned_to(cores.client), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            results = runner.run(_measure(plan, cores, kinds, without))
    finally:
        databases.end()
    page = render(results)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page)
    print(page)


async def _measure(plan: Plan, cores: Cores, kinds: list[str], without: dict[str, str]) -> Results:
    bench = Bench(plan, cores, _tell)
    remarks = [f"left out: {reason}" for reason in without.values()]
    figures = {}
    for kind in kinds:
        name = await name_of(kind)
        remarks.append(f"{name}: {await circumstances_of(kind)}")
        figures[name] = await bench.measure(kind)
    return Results(plan=plan, remarks=remarks, figures=figures)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.databases", description="Measure the log on each database.")
    parser.add_argument("--quick", action="store_true", help="some seconds with little data: only to see it work")
    parser.add_argument("--kind", action="append", choices=DURABLE, help="measure only this one; may be repeated")
    parser.add_argument("--out", type=Path, default=_LATEST, help="where the report goes (default %(default)s)")
    arguments = parser.parse_args()
    arguments.kind = [kind for kind in DURABLE if kind in (arguments.kind or DURABLE)]
    return arguments


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
