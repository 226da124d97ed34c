"""`python -m bench.nodes`: measure several nodes and write the report."""

import argparse
import asyncio
import resource
import signal
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from bench.databases.sites import circumstances_of, name_of
from bench.nodes.figures import Results, ThreeNodes
from bench.nodes.many import many_streams, too_many
from bench.nodes.plan import DESCRIPTORS, FULL_MANY, FULL_THREE, QUICK_MANY, QUICK_THREE
from bench.nodes.report import render
from bench.nodes.surroundings import RedisBooks, database_kind, missing_redis, private_redis, settings
from bench.nodes.three import ThreeBeside
from bench.page import RESULTS
from bench.process import Cores
from bench.streams.compiling import compiled, compiler
from bench.streams.load import SOURCE
from tests.support import databases

_LATEST = RESULTS / "nodes.md"
_MOST_MINUTES = 45


def main() -> None:
    """Parse the command line, measure, print the report and write it to a file."""
    arguments = _parse()
    _prepare(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(prefix="sse-bench-") as directory:
            asyncio.run(_Run(arguments, Path(directory)).measure())
    finally:
        databases.end()
    print(arguments.out.read_text())


class _Run:
    """One run. The page is written after every scenario, so that one that fails late does not take the others with it.

    What is measured blocks the event loop, on which nothing goes on but the making and removing of its surroundings.
    """

    def __init__(self, arguments: argparse.Namespace, directory: Path) -> None:
        self._arguments = arguments
        self._directory = directory
        self._program = compiled(SOURCE, directory)
        self._kind = ""
        self._results = Results(remarks=(), many_plan=arguments.many_plan, three_plan=arguments.three_plan)

    async def measure(self) -> None:
        # Here, so that a private database server may use every core.
        self._kind, why_not_postgresql = database_kind()
        self._remark(f"{await name_of(self._kind)}: {await circumstances_of(self._kind)}")
        if why_not_postgresql is not None:
            self._remark(f"not on PostgreSQL: {why_not_postgresql}")
        if self._arguments.many:
            await self._many()
        if self._arguments.three:
            await self._three()

    async def _many(self) -> None:
        plan, separate = self._arguments.many_plan, self._arguments.separate
        async with private_redis() as redis, settings(self._kind, redis, plan.heartbeat_seconds) as environment:
            many = many_streams(plan, environment, redis, self._directory, self._program, separate=separate, tell=_tell)
            self._remark_redis(redis)
        kind = "servers with a port each" if separate else "`sse-hub serve --workers`"
        self._remark(f"very many streams: {kind}, load, Redis and database over loopback, wherever they happen to run")
        self._write(replace(self._results, many=many))

    async def _three(self) -> None:
        cores = Cores.available()
        scenarios = ThreeBeside(self._arguments.three_plan, cores, self._directory, self._program, tell=_tell)
        self._remark(
            "three nodes beside one: over loopback, all nodes on one core; load, publisher and Redis on the other; the "
            "database server where it happens to run, which takes from both"
        )
        three = ThreeNodes()
        async with (
            private_redis() as redis,
            settings(self._kind, redis) as together,
            settings(self._kind, None) as alone,
        ):
            redis.pin_to(cores.client)
            self._remark_redis(redis)
            for three in scenarios.with_redis(alone, together):
                self._write(replace(self._results, three=three))
        async with settings(self._kind, None) as environment:
            self._write(replace(self._results, three=scenarios.without_redis(environment, three)))

    def _remark_redis(self, redis: RedisBooks) -> None:
        self._remark(f"Redis {redis.version()}: a private server, which writes nothing to disk")

    def _remark(self, remark: str) -> None:
        if remark not in self._results.remarks:
            self._results = replace(self._results, remarks=[*self._results.remarks, remark])

    def _write(self, results: Results) -> None:
        self._results = results
        self._arguments.out.write_text(render(results))


def _prepare(arguments: argparse.Namespace) -> None:
    """See to it that the machine can do what was asked for, and that it ends. Exits saying why not."""
    if compiler() is None:
        raise SystemExit("the load is a C program, and there is no C compiler: cc is not on PATH")
    if (reason := missing_redis()) is not None:
        raise SystemExit(reason)
    if arguments.many and (reason := too_many(arguments.many_plan, separate=arguments.separate)) is not None:
        raise SystemExit(reason)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < DESCRIPTORS:
        raise SystemExit(f"processes may open {most:,} files here, and {DESCRIPTORS:,} are needed: see ulimit -Hn")
    # Every stream is an open file, of the load as of the server. All processes inherit this limit.
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, most))
    signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(_MOST_MINUTES * 60)
    # Raised where the run is, so that it takes down what it has set up. asyncio would let it finish what blocks first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)


def _too_late(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"not done within {_MOST_MINUTES} minutes")


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.nodes", description="Measure several nodes of sse-hub.")
    parser.add_argument("--many", action="store_true", help="only very many streams over several workers")
    parser.add_argument("--three", action="store_true", help="only three nodes beside one")
    parser.add_argument("--streams", type=int, help=f"so many are very many (default {FULL_MANY.streams})")
    parser.add_argument("--workers", type=int, help=f"over which these are spread (default {FULL_MANY.workers})")
    parser.add_argument(
        "--separate", action="store_true", help="for workers, servers with a port each: no hash spreads the streams"
    )
    parser.add_argument("--quick", action="store_true", help="a few seconds with few streams: only to see it work")
    parser.add_argument("--out", type=Path, default=_LATEST, help="where the report goes (default %(default)s)")
    arguments = parser.parse_args()
    if not (arguments.many or arguments.three):
        arguments.many = arguments.three = True
    plan = QUICK_MANY if arguments.quick else FULL_MANY
    streams, workers = arguments.streams or plan.streams, arguments.workers or plan.workers
    if not 2 <= workers <= streams // 10:
        parser.error("there must be two --workers at least, and ten --streams for each")
    arguments.many_plan = replace(plan, streams=streams, workers=workers)
    arguments.three_plan = QUICK_THREE if arguments.quick else FULL_THREE
    return arguments


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
