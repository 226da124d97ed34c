"""`python -m bench.streams`: run the scenarios and write the report."""

import argparse
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.page import RESULTS
from bench.process import Cores
from bench.streams import goals, sends
from bench.streams.compiling import compiler
from bench.streams.fan_out import fan_out
from bench.streams.figures import Results
from bench.streams.idle import idle
from bench.streams.plan import FULL, MOST_STREAMS, QUICK, Plan
from bench.streams.plots import draw
from bench.streams.report import render
from bench.streams.rig import Workshop
from bench.streams.steady import steady_state
from bench.streams.targets import ALL_TARGETS, SSE_HUB, SSE_HUB_PERSISTED, Target
from bench.streams.unicast import unicast

_LATEST = RESULTS / "streams.md"
_SENDS = {
    goals.PERSISTED_BATCHES: sends.persisted_batches,
    goals.BATCHES: sends.ephemeral_batches,
    goals.IN_PROCESS: sends.in_process_to_streams,
    goals.IN_PROCESS_LISTENERS: sends.in_process_to_listeners,
}


def main() -> None:
    """Parse the command line, measure, print the report and write it to a file, with its pictures beside it."""
    arguments = _parse()
    if compiler() is None:
        raise SystemExit("the load is a C program, and there is no C compiler: cc is not on PATH")
    plan = QUICK if arguments.quick else FULL
    if arguments.streams is not None:
        plan = replace(plan, streams=arguments.streams)
    # Every stream is an open file, of the load as of the server, and both inherit this limit.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    chosen = [target for target in ALL_TARGETS if target.name in arguments.target]
    left_out = [f"{target.name}: {reason}" for target in chosen if (reason := target.missing()) is not None]
    for each in left_out:
        _tell(f"left out: {each}")
    targets = [target for target in chosen if target.missing() is None]
    if not targets:
        raise SystemExit("there is nothing left to measure")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    page = ""
    with TemporaryDirectory(prefix="sse-bench-") as directory:
        # Written after every scenario, so that one that fails late does not take the others with it.
        for results in _measure(Workshop(Cores.available(), Path(directory)), plan, targets):
            page = render(results, left_out=left_out, pictures=draw(results, arguments.out))
            arguments.out.write_text(page)
    print(page)


def _measure(workshop: Workshop, plan: Plan, targets: Sequence[Target]) -> Iterator[Results]:
    """What is known so far, after every scenario."""
    results = Results(plan=plan, fan_out=fan_out(workshop, plan, targets, _tell))
    yield results
    for target in targets:
        if target in (SSE_HUB, SSE_HUB_PERSISTED):
            _tell(f"{target.name}: steady state")
            results = replace(results, steady={**results.steady, target.name: steady_state(workshop, plan, target)})
            yield results
    if SSE_HUB not in targets:
        return
    _tell("sse-hub: opening, heartbeats")
    results = replace(results, idle=idle(workshop, plan))
    yield results
    _tell("sse-hub: unicast")
    results = replace(results, unicast=unicast(workshop, plan))
    yield results
    for name, send in _SENDS.items():
        _tell(f"sse-hub: {name}")
        results = replace(results, sends={**results.sends, name: send(workshop, plan)})
        yield results


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description="Measure sse-hub beside others.")
    parser.add_argument("--streams", type=_streams, help=f"open streams (default {FULL.streams})")
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
    if not 100 <= streams <= MOST_STREAMS:
        raise argparse.ArgumentTypeError(f"from 100 to {MOST_STREAMS}")
    return streams


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
