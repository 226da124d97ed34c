"""`python -m bench`: run the scenarios and write the report."""

import argparse
import resource
import sys
from dataclasses import replace
from pathlib import Path

from bench.figures import Sends, SteadyState
from bench.process import Cores
from bench.report import Results, render
from bench.scenarios import Bench, Plan
from bench.targets import ALL_TARGETS, SSE_HUB, SSE_HUB_PERSISTED, Target

_FULL = Plan(streams=10_000, rounds=11, bursts=5, burst=20, batches=50, batch=1000, steady_rounds=12)
_QUICK = Plan(streams=200, rounds=3, bursts=2, burst=5, batches=2, batch=100, steady_rounds=2)
_MOST_STREAMS = 16_000
_LATEST = Path(__file__).parent / "results" / "latest.md"


def main() -> None:
    """Parse the command line, measure, print the report and write it to a file."""
    arguments = _parse()
    plan = _QUICK if arguments.quick else _FULL
    if arguments.streams is not None:
        plan = replace(plan, streams=arguments.streams)
    # Every stream is an open file, of the load as of the server, and both inherit this limit.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    bench = Bench(plan, Cores.available())
    targets = [target for target in ALL_TARGETS if target.name in arguments.target]
    page = render(_measure(bench, plan, targets))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page)
    print(page)


def _measure(bench: Bench, plan: Plan, targets: list[Target]) -> Results:
    sends: dict[str, Sends] = {}
    steady: dict[str, SteadyState] = {}
    fan_out = {}
    for target in targets:
        _tell(f"{target.name}: {plan.streams:,} streams and broadcasts")
        fan_out[target.name] = bench.fan_out(target)
    if SSE_HUB in targets:
        _tell("sse-hub: persisted sends")
        sends["persisted"] = bench.persisted_sends()
        _tell("sse-hub: ephemeral sends")
        sends["ephemeral"] = bench.ephemeral_sends()
    for target in targets:
        if target in (SSE_HUB, SSE_HUB_PERSISTED):
            _tell(f"{target.name}: steady state")
            steady[target.name] = bench.steady_state(target)
    return Results(plan=plan, fan_out=fan_out, sends=sends, steady=steady)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure sse-hub beside two baselines.")
    parser.add_argument("--streams", type=_streams, help=f"open streams (default {_FULL.streams})")
    parser.add_argument("--quick", action="store_true", help="a few seconds with few streams: only to see it work")
    parser.add_argument(
        "--target",
        action="append",
        choices=[target.name for target in ALL_TARGETS],
        help="measure only this one; may be repeated",
    )
    parser.add_argument("--out", type=Path, default=_LATEST, help="where the report goes (default %(default)s)")
    arguments = parser.parse_args()
    arguments.target = arguments.target or [target.name for target in ALL_TARGETS]
    return arguments


def _streams(text: str) -> int:
    streams = int(text)
    if not 100 <= streams <= _MOST_STREAMS:
        raise argparse.ArgumentTypeError(f"from 100 to {_MOST_STREAMS}")
    return streams


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
