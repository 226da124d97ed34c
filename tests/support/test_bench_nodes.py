"""The benchmark of several nodes: what it counts, how it reckons, and that it runs and cleans up."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from bench.nodes.figures import Crossing, FanOut, ManyStreams, Memory, Notes, Results, ThreeNodes, Work, WorkerShare
from bench.nodes.loaded_hub import LoadedHub, loaded_hub
from bench.nodes.many import too_many
from bench.nodes.plan import FULL_MANY, FULL_THREE
from bench.nodes.report import render
from bench.nodes.sockets import connections, descriptors
from bench.nodes.surroundings import missing_redis, recorded, settings
from bench.nodes.three import EPHEMERAL, PERSISTED, TICK
from bench.streams.compiling import compiled, compiler
from bench.streams.figures import Round
from bench.streams.load import SOURCE, LoadFailedError
from tests.support.missing import missing
from tests.support.sql import query

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def load_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if compiler() is None:
        missing("a C compiler (cc) is not installed")
    return compiled(SOURCE, tmp_path_factory.mktemp("load"))


def test_a_processs_streams_are_its_established_connections_to_the_port() -> None:
    with ExitStack() as stack:
        ours, others = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        port = ours.getsockname()[1]
        for listening in (ours, ours, others):
            stack.enter_context(socket.create_connection(listening.getsockname()))
            stack.enter_context(listening.accept()[0])
        assert connections([os.getpid(), os.getppid()], [port]) == {os.getpid(): 2, os.getppid(): 0}
        before = descriptors(os.getpid())
        stack.enter_context(socket.socket())
        assert descriptors(os.getpid()) == before + 1


def test_streams_that_would_not_fit_into_their_workers_are_refused() -> None:
    assert too_many(FULL_MANY, separate=False) is None
    reason = too_many(replace(FULL_MANY, workers=5), separate=False)
    assert reason is not None
    assert "over 5 workers may need 20,733 descriptors" in reason
    # Without a hash each has the mean, and no more.
    fitting = replace(FULL_MANY, streams=99_500, workers=5)
    assert too_many(fitting, separate=False) is not None
    assert too_many(fitting, separate=True) is None


def test_without_redis_it_says_how_to_come_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert missing_redis() == "redis-server is not installed: scripts/install-test-tools installs it"


async def test_streams_are_spread_evenly_and_each_is_another_users(load_program: Path, tmp_path: Path) -> None:
    async with settings("sqlite", None) as environment:
        with loaded_hub(environment, tmp_path, load_program, loads=3) as hub:
            hub.open_up_to(2)
            hub.open_up_to(8)
            assert [load.streams for load in hub.loads] == [3, 3, 2]
            assert len(_users(hub)) == 8
            assert [len(latencies) for latencies in hub.broadcast(persist=False).latencies_ms] == [3, 3, 2]
            hub.check_each_once()
            with pytest.raises(LoadFailedError, match="has had 1 of the frames, not 2"):
                hub.loads[0].check_each(2)


async def test_who_was_given_everything_is_counted_by_the_normal_position() -> None:
    async with settings("sqlite", None) as environment:
        insert = "INSERT INTO app_sse_delivered VALUES ('user', :user, :normal, 0, 0, '2026-01-01 00:00:00')"
        for user, normal in (("ada", 4), ("bob", 5), ("cleo", 6)):
            await query(environment["SSE_DATABASE_URL"], insert, user=user, normal=normal)
        assert recorded(environment, 5) == 2


def _users(hub: LoadedHub) -> set[str]:
    return {hub.user(index, number) for index, load in enumerate(hub.loads) for number in range(load.streams)}


def rounds(cpu_us: float, latency_ms: float, streams: int) -> Sequence[Round]:
    return [
        Round(server_cpu_seconds=us * streams / 1e6, load_cpu_seconds=0.01, latencies_ms=[latency_ms] * streams)
        for us in (cpu_us, cpu_us * 3, cpu_us)
    ]


MANY = ManyStreams(
    streams_before=60,
    memory_before=Memory(hub=100 << 20, redis=1 << 20, redis_process=2 << 20),
    opening=Work(seconds=25, hub=29.982, redis=1, load=5),
    reported=100_000,
    workers=[
        WorkerShare(streams=17_000, descriptors=17_030, memory_bytes=64 << 20),
        *[WorkerShare(streams=16_600, descriptors=16_630, memory_bytes=64 << 20)] * 5,
    ],
    memory=Memory(hub=(100 << 20) + 99_940 * 4096, redis=(1 << 20) + 99_940 * 400, redis_process=60 << 20),
    idle=Work(seconds=60, hub=6, redis=0.6, load=1.2),
    ephemeral=rounds(10, 900, 100_000),
    persisted=rounds(12, 1000, 100_000),
    recording=[5, 6, 7],
    memory_after=Memory(hub=(100 << 20) + 99_940 * 5120, redis=0, redis_process=0),
)
THREE = ThreeNodes(
    idle=[0.01, 0.02, 0.02, 0.02],
    fan_out={
        False: FanOut(single=rounds(10, 50, 5000), nodes=[rounds(cpu, 150, 5000) for cpu in (10.5, 11.5, 9)]),
        True: FanOut(single=rounds(10, 50, 5000), nodes=[rounds(cpu, 150, 5000) for cpu in (10, 10.5, 10)]),
    },
    crossings={
        name: [
            Crossing(
                latencies_ms=[1.0] * 98 + [p99, most],
                sender_busy=0.3,
                receiver_busy=0.1,
                load_busy=0.01,
                publisher_busy=0.2,
            )
        ]
        for name, p99, most in ((EPHEMERAL, 4, 30), (PERSISTED, 11, 30), (TICK, 1000, 1050))
    },
    notes={
        FULL_THREE.requests[0]: [Notes(seconds=5, messages=1250, notes=1250, cpu_seconds=0.05)] * 3,
        FULL_THREE.requests[3]: [Notes(seconds=5, messages=10_000, notes=100, cpu_seconds=0.02)] * 3,
    },
)
RESULTS = Results(remarks=["on paper"], many_plan=FULL_MANY, three_plan=FULL_THREE, many=MANY, three=THREE)


def test_the_report_begins_with_the_goals_and_whether_they_are_met() -> None:
    page = render(RESULTS).splitlines()
    assert "- on paper" in page
    cpu, latency = "CPU per delivery, {} broadcasts, 5,000 streams a node: the dearest node", "publish to receipt"
    for row in (
        "| streams open at once over 6 workers | 100,000 | ≥ 100,000 | yes |",
        "| descriptors of the fullest worker | 17,030 | ≤ 20,000 | yes |",
        "| streams that had each persisted broadcast, and had it once | 100,000 | ≥ 100,000 | yes |",
        f"| {cpu.format('ephemeral')} | 1.15 × that of a single node | ≤ 1.10 × that of a single node | **no** |",
        f"| {cpu.format('persisted')} | 1.05 × that of a single node | ≤ 1.10 × that of a single node | yes |",
        "| CPU of a node to be told of a commit, 250 a second | 40 µs | ≤ 50 µs | yes |",
        f"| {latency}, 1,000 messages/s, {EPHEMERAL}: p99 | 4.0 ms | ≤ 10.0 ms | yes |",
        f"| {latency}, 1,000 messages/s, {PERSISTED}: p99 | 11.0 ms | ≤ 10.0 ms | **no** |",
        f"| {latency}, 1,000 messages/s, {TICK}: the greatest: a tick of 1 s, and the read | 1,050.0 ms | ≤ 1,100.0 ms "
        "| yes |",
    ):
        assert row in page


def test_the_report_shows_what_the_goals_were_reckoned_from() -> None:
    page = render(RESULTS).splitlines()
    for row in (
        "| streams opened per second | 3,998 |",
        "| CPU to open one, µs: the hub's | 300 |",
        "| memory of the hub per idle stream, KiB | 4.00 |",
        "| … per stream after all broadcasts, KiB | 5.00 |",
        "| memory of Redis per stream, bytes | 400 |",
        "| with heartbeats every 30 s the hub uses of a core | 10.0% |",
        "| of the mean | 102.0% | 99.6% | 99.6% | 99.6% | 99.6% | 99.6% |",
        "| persisted | 100,000 | 12.0 | 1,000 | 1,000 | 1,000 | 0.10 | 60.0 |",
        "| of three, another | 11.5 | 1.15 | 150.0 | 150.0 | 150.0 | 7% | 2.00 |",
        f"| {TICK} | 1.00 | 1,000.00 | 1,050.00 | 1,050.00 | 30% | 10% | 1% | 20% |",
        "| 100 in each of 20 requests a second | 20 | 100.0 | 200 | 2.0 | 0.4% |",
    ):
        assert row in page


def test_what_was_left_out_is_not_on_the_page() -> None:
    page = render(replace(RESULTS, many=None))
    assert "workers" not in page
    assert "single node" not in render(replace(RESULTS, three=None))


def test_a_quick_run_opens_many_streams_over_workers(load_program: Path, tmp_path: Path) -> None:
    page = _quick_run(tmp_path, "--many", "--streams", "90", "--workers", "2")
    assert "| streams open at once over 2 workers | 90 | ≥ 90 | yes |" in page
    assert "| of them the workers have told each other of | 90 |" in page
    assert "| streams that had each persisted broadcast, and had it once | 90 | ≥ 90 | yes |" in page


def test_a_quick_run_measures_three_nodes(load_program: Path, tmp_path: Path) -> None:
    page = _quick_run(tmp_path, "--three")
    assert page.count("\n| of three, another |") == 4
    for name in (EPHEMERAL, PERSISTED, TICK):
        assert re.search(rf"^\| {name} \| [\d,.]+ \| ", page, re.MULTILINE)
    assert re.search(r"^\| 10 in each of 20 requests a second \| \d+ \| 10\.0 \| ", page, re.MULTILINE)


def test_a_run_that_is_interrupted_leaves_nothing_behind(load_program: Path, tmp_path: Path) -> None:
    if (reason := missing_redis()) is not None:
        missing(reason)
    command = _command(tmp_path / "report.md", "--many")
    with subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        assert run.stderr.readline().startswith("opening 600 streams")
        started = _descendants(run.pid)
        assert len(started) >= 5  # Redis, a supervisor, two workers, a load
        directories = {Path(f"/proc/{pid}/cwd").readlink() for pid in started} - {CHECKOUT}
        assert len(directories) == 2  # a hub's and Redis'
        run.send_signal(signal.SIGTERM)
        said = run.stderr.read()  # ends when the last that has inherited it is about to end
    assert run.returncode == 128 + signal.SIGTERM, said
    deadline = time.monotonic() + 10
    while (left := [pid for pid in started if _runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    assert not [each for each in directories if each.exists()]
    assert list(tmp_path.iterdir()) == []


def test_options_that_make_no_sense_are_refused() -> None:
    run = subprocess.run(
        _command(Path("never.md"), "--workers", "1"), cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert "two --workers at least" in run.stderr


def _quick_run(tmp_path: Path, *options: str) -> str:
    if (reason := missing_redis()) is not None:
        missing(reason)
    out = tmp_path / "results" / "report.md"
    run = subprocess.run(
        _command(out, *options), cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=110
    )
    assert run.returncode == 0, run.stderr
    assert out.read_text() == run.stdout.removesuffix("\n")
    return run.stdout


def _command(out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "bench.nodes", "--quick", *options, "--out", str(out)]


def _runs(pid: int) -> bool:
    """Not so if it has ended and its parent has not asked how."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            for task in Path(f"/proc/{each}/task").iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):
                    found += map(int, (task / "children").read_text().split())
    return found[1:]
