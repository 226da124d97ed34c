"""The benchmark's own correctness: what it counts, how it reckons, and that it runs."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.process import Cores
from bench.streams import goals
from bench.streams.compiling import compiled, compiler
from bench.streams.figures import FanOut, Idle, Results, Round, Sends, Size, SteadyState, Unicast, percentile
from bench.streams.load import SOURCE, LoadFailedError, Receipts, StreamLoad
from bench.streams.plan import FULL
from bench.streams.plots import draw
from bench.streams.report import render
from bench.streams.rig import Workshop, check_each_came
from bench.streams.servers import nchan
from bench.streams.targets import (
    ALL_TARGETS,
    C_FLOOR,
    NCHAN,
    PAYLOAD_BYTES,
    SSE_HUB,
    SSE_HUB_PERSISTED,
    Target,
    payload,
)
from tests.support.missing import missing

CHECKOUT = Path(__file__).parents[2]
OPENING = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n17\r\nevent: open\ndata: m-1\n\n\r\n"


@pytest.fixture(scope="module")
def load_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if compiler() is None:
        missing("a C compiler (cc) is not installed")
    return compiled(SOURCE, tmp_path_factory.mktemp("load"))


class ScriptedStream:
    """One open stream of a load, and the server's end of it."""

    def __init__(self, load: StreamLoad, connection: socket.socket) -> None:
        self.load = load
        self.connection = connection

    def say(self, piece: bytes) -> None:
        """Send bytes and have the load read them before anything else is sent."""
        self.connection.sendall(piece)
        self.load.cpu_seconds()


@contextmanager
def open_stream(program: Path, opening: bytes) -> Iterator[ScriptedStream]:
    def accept() -> socket.socket:
        connection, _ = listening.accept()
        connection.recv(1000)
        connection.sendall(opening)
        return connection

    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listening.getsockname()[1]
        load = stack.enter_context(StreamLoad(program, port, "event: open", min(os.sched_getaffinity(0))))
        accepted = stack.enter_context(ThreadPoolExecutor(1)).submit(accept)
        stack.callback(lambda: accepted.result().close())
        load.open(["/stream"])
        yield ScriptedStream(load, accepted.result())


def test_only_complete_frames_with_the_mark_are_counted(load_program: Path) -> None:
    with open_stream(load_program, OPENING) as stream:
        stream.load.mark("m-2")
        stream.say(b"10\r\ndata: m-2\n\ndata: m-2\r\n")
        with pytest.raises(LoadFailedError, match="1 of 2"):
            stream.load.count(2, seconds=0)


@pytest.mark.parametrize("frame_end", [b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("cut", range(1, 36))
def test_a_frame_counts_once_with_its_number_wherever_it_is_cut(load_program: Path, frame_end: bytes, cut: int) -> None:
    frames = b"".join(
        b"%x\r\n%b\r\n" % (len(frame), frame) for frame in (b"data: m-2-7" + frame_end, b"data: m-2-41" + frame_end)
    )
    with open_stream(load_program, OPENING) as stream:
        stream.load.mark("m-2-")
        stream.say(frames[:cut])
        stream.say(frames[cut:])
        receipts = stream.load.count(2, seconds=10)
        assert list(receipts.numbers) == [7, 41]
        assert receipts.times_ns[0] <= receipts.times_ns[1]
        assert receipts.load_cpu_seconds > 0


def test_a_mark_begins_a_count_anew(load_program: Path) -> None:
    with open_stream(load_program, OPENING) as stream:
        stream.load.mark("m-2")
        stream.say(b"data: m-2\n\n")
        stream.load.mark("m-3")
        stream.say(b"data: m-2\n\ndata: m-3\n\n")
        assert len(stream.load.count(0, seconds=0).numbers) == 1


def test_a_stream_that_had_a_frame_twice_or_not_at_all_fails(load_program: Path) -> None:
    with open_stream(load_program, OPENING) as stream:
        stream.load.mark("m-2")
        stream.say(b"data: m-2\n\n")
        stream.load.check_each(1)
        stream.load.mark("m-3")
        stream.say(b"data: m-3\n\ndata: m-3\n\n")
        with pytest.raises(LoadFailedError, match=r"/stream has had 2 of the frames, not 1"):
            stream.load.check_each(1)


def test_a_refused_stream_fails(load_program: Path) -> None:
    with pytest.raises(LoadFailedError, match="503"), open_stream(load_program, b"HTTP/1.1 503 Busy\r\n\r\n"):
        pytest.fail("there is no stream")


def test_a_stream_that_ends_fails(load_program: Path) -> None:
    with open_stream(load_program, OPENING) as stream:
        stream.connection.close()
        with pytest.raises(LoadFailedError, match="a stream ended"):
            stream.load.count(1, seconds=10)


@pytest.mark.parametrize("target", ALL_TARGETS, ids=lambda target: target.name)
def test_every_server_gives_every_broadcast_to_every_stream_once(
    load_program: Path, tmp_path: Path, target: Target
) -> None:
    if (reason := target.missing()) is not None:
        missing(reason)
    with Workshop(Cores.available(), tmp_path).rig(target) as rig:
        rig.open_up_to(3)
        rig.load.reconnect(2)
        assert len(rig.broadcast(4).latencies_ms) == 12


def test_a_message_that_came_too_often_or_not_at_all_is_noticed() -> None:
    check_each_came(Receipts([1, 2, 3, 4], [0, 1, 1, 0], 0), messages=2, times=2)
    with pytest.raises(RuntimeError, match="some came 1 and some 3 times"):
        check_each_came(Receipts([1, 2, 3, 4], [0, 1, 1, 1], 0), messages=2, times=2)


def test_a_server_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nchan, "_MODULE", tmp_path / "ngx_nchan_module.so")
    reason = NCHAN.missing()
    assert reason is not None
    page = render(Results(plan=FULL, fan_out={}), left_out=[f"{NCHAN.name}: {reason}"], pictures={})
    assert "- left out: Nchan: nginx with Nchan" in page


def test_percentiles_are_values_that_occurred() -> None:
    ordered = [float(value) for value in range(1, 101)]
    assert [percentile(ordered, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == 7.0


def test_every_payload_has_the_size_that_the_report_names() -> None:
    assert {len(payload(mark)) for mark in ("m", "round-00000001-")} == {PAYLOAD_BYTES}


def test_growth_is_followed_up_to_what_one_load_holds() -> None:
    assert FULL.growth == [1000, 2000, 4000, 8000, 16_000]
    assert FULL.sizes == [1000, 2000, 4000, 8000, 10_000, 16_000]
    assert replace(FULL, streams=16_000).sizes == [1600, 3200, 6400, 12_800, 16_000]


def fan_out(*, cpu_us: float, latency_ms: float, kib: int) -> FanOut:
    """A server to which every delivery is alike, but for another fifth of CPU time with the most streams."""

    def rounds(streams: int, us: float) -> list[Round]:
        return [
            Round(server_cpu_seconds=us * streams / 1e6, load_cpu_seconds=load, latencies_ms=[latency_ms] * streams)
            for load in (latency_ms / 4000, latency_ms / 2000, latency_ms / 1000)
        ]

    return FanOut(
        streams=10_000,
        streams_before=0,
        memory_bytes_before=1 << 20,
        sizes=[
            Size(
                streams=streams,
                memory_bytes=(1 << 20) + streams * kib * 1024,
                rounds=rounds(streams, cpu_us * 1.2 if streams == 16_000 else cpu_us),
            )
            for streams in FULL.sizes
        ],
        bursts=rounds(20 * 10_000, cpu_us),
    )


RESULTS = Results(
    plan=FULL,
    fan_out={
        SSE_HUB.name: fan_out(cpu_us=8, latency_ms=60, kib=12),
        SSE_HUB_PERSISTED.name: fan_out(cpu_us=9, latency_ms=75, kib=13),
        NCHAN.name: fan_out(cpu_us=10, latency_ms=120, kib=10),
        C_FLOOR.name: fan_out(cpu_us=5, latency_ms=50, kib=1),
    },
    idle=Idle(
        streams=9990,
        opening_seconds=1.998,
        opening_cpu_seconds=1.5,
        opening_load_cpu_seconds=0.2,
        heartbeat_seconds=30,
        heartbeat_window_seconds=60,
        heartbeat_cpu_seconds=0.6,
    ),
    unicast=Unicast(
        streams=10_000,
        per_second=1000,
        seconds=0.1,
        server_cpu_seconds=0.05,
        latencies_ms=[1.0] * 98 + [9.0, 21.0],
    ),
    sends={
        goals.BATCHES: Sends(sent=50_000, found=49_999, seconds=4, server_cpu_seconds=1),
        goals.IN_PROCESS: Sends(sent=200_000, found=200_000, seconds=2, server_cpu_seconds=2),
    },
    steady={
        SSE_HUB.name: SteadyState(
            memory_bytes=[1 << 20, 2 << 20],
            slope_bytes_per_round=1 << 20,
            deliveries_per_round=5000,
            reconnects_per_round=50,
        )
    },
)


def test_the_report_begins_with_the_goals_and_whether_they_are_met() -> None:
    page = render(RESULTS, left_out=[], pictures={"Latency": "page-latency.svg"}).splitlines()
    cpu = "CPU per delivery, broadcasts one at a time, 10,000 streams"
    for row in (
        f"| {cpu} | 0.80 × Nchan | ≤ 0.85 × Nchan | yes |",
        f"| {cpu} | 1.60 × the C floor | ≤ 1.50 × the C floor | **no** |",
        "| p99 of such a broadcast | 0.50 × Nchan | ≤ 0.80 × Nchan | yes |",
        "| deliveries/s in bursts of 20 messages, one worker each | 2.00 × Nchan | ≥ 3.00 × Nchan | **no** |",
        "| deliveries/s in bursts with `persist=true` on SQLite | 0.80 × ephemeral | ≥ 0.85 × ephemeral | **no** |",
        "| server memory per idle stream | 12.0 KiB | ≤ 10.0 KiB | **no** |",
        "| publish to receipt, 1,000 unicast messages/s, 10,000 idle streams, p99 | 9.0 ms | ≤ 10.0 ms | yes |",
        "| longest pause with 10,000 streams: the greatest of these latencies | 21.0 ms | ≤ 20.0 ms | **no** |",
        "| sends, ephemeral, in-process to HTTP streams | 100,000/s | ≥ 100,000/s | yes |",
        "| sends, ephemeral, `/send/batch` | 12,500/s | ≥ 50,000/s | **no** |",
        "| opening 9,990 streams | 5,000/s | ≥ 5,000/s | yes |",
        "| heartbeats of 10,000 idle streams every 30 s | 1.00 % of a core | ≤ 2.00 % of a core | yes |",
    ):
        assert row in page
    [growth] = [line for line in page if line.startswith("| growth with streams (1,000 to 16,000)")]
    assert "| 1.20 × that of 1,000 | ≤ 1.15 × that of 1,000 | **no** |" in growth
    assert "![Latency](page-latency.svg)" in page


def test_the_report_shows_what_the_goals_were_reckoned_from() -> None:
    page = render(RESULTS, left_out=[], pictures={}).splitlines()
    assert "| sse-hub | 8.0 | 0.80 | 1.60 | 166,667 | 60.0 | 60.0 | 60.0 | 50% | 3.00 |" in page
    assert "| sse-hub | 8.0 | 0.80 | 1.60 | 3,333,333 | 60.0 | 60.0 | 60.0 | 50% | 0.15 |" in page
    assert "| sse-hub | 8.0 | 8.0 | 8.0 | 8.0 | 8.0 | 9.6 |" in page
    assert "| sse-hub | 12.0 | 12.7 | 24.4 | 47.9 | 94.8 | 118.2 | 188.5 |" in page
    assert "| ephemeral, `/send/batch` | 12,500 | 20.0 | 50,000 | 49,999 |" in page
    assert "| sse-hub | 5,000 | 50 | 1.00 | 2.00 | +1024.0 |" in page


def test_the_pictures_name_every_server(tmp_path: Path) -> None:
    names = draw(RESULTS, tmp_path / "page.md").values()
    assert list(names) == ["page-latency.svg", "page-cpu.svg", "page-memory.svg"]
    for name in names:
        picture = (tmp_path / name).read_text()
        assert all(f">{server}<" in picture for server in RESULTS.fan_out)


def test_a_quick_run_measures_everything_and_writes_the_report(load_program: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "report.md"
    targets = ("--target", SSE_HUB.name, "--target", C_FLOOR.name)
    run = subprocess.run(
        [sys.executable, "-m", "bench.streams", "--quick", "--streams", "100", *targets, "--out", str(out)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert run.returncode == 0, run.stderr
    assert out.read_text() == run.stdout.removesuffix("\n")
    for title in ("Goals of sse-hub", "One broadcast at a time, 200 bytes to 100 streams", "Unicast at 200 messages/s"):
        assert f"## {title}" in run.stdout
    assert {path.name for path in out.parent.glob("*.svg")} == {
        f"report-{of}.svg" for of in ("latency", "cpu", "memory")
    }
