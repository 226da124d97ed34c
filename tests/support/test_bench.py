"""The benchmark's own correctness: what it counts, how it reckons, and that it runs."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bench.figures import FanOut, Round, Sends, SteadyState, percentile
from bench.load import LoadFailedError, StreamLoad
from bench.report import Results, render
from bench.scenarios import Plan
from bench.targets import BARE_ASGI, PAYLOAD_BYTES, SSE_HUB, payload

CHECKOUT = Path(__file__).parents[2]
OPENING = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n17\r\nevent: open\ndata: m-1\n\n\r\n"


class ScriptedStream:
    """One open stream of a load, and the server's end of it."""

    def __init__(self, load: StreamLoad, connection: socket.socket, tell: socket.socket, told: socket.socket):
        self.load = load
        self.connection = connection
        self._tell = tell
        self._told = told

    def say(self, piece: bytes) -> None:
        """Send bytes and have the load read them before anything else is sent."""
        self.connection.sendall(piece)
        self._tell.send(b".")
        self.load.read_until_told()
        self._told.recv(1)


@contextmanager
def open_stream(opening: bytes) -> Iterator[ScriptedStream]:
    def accept() -> socket.socket:
        connection, _ = listening.accept()
        connection.recv(1000)
        connection.sendall(opening)
        return connection

    with ExitStack() as stack:
        tell, told = map(stack.enter_context, socket.socketpair())
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listening.getsockname()[1]
        load = stack.enter_context(StreamLoad(port, b"event: open", told.fileno()))
        accepted = stack.enter_context(ThreadPoolExecutor(1)).submit(accept)
        stack.callback(lambda: accepted.result().close())
        load.open(["/stream"])
        yield ScriptedStream(load, accepted.result(), tell, told)


def test_only_complete_frames_with_the_mark_are_counted() -> None:
    with open_stream(OPENING) as stream:
        stream.load.begin_counting(b"m-2")
        stream.say(b"10\r\ndata: m-2\n\ndata: m-2\r\n")
        with pytest.raises(LoadFailedError, match="1 of 2"):
            stream.load.count(2, seconds=0)
        stream.say(b"2\r\n\n\n\r\n")
        assert len(stream.load.count(2, seconds=0).times) == 2


@pytest.mark.parametrize("frame_end", [b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("cut", range(1, 30))
def test_a_frame_counts_once_wherever_it_is_cut(frame_end: bytes, cut: int) -> None:
    frame = b"data: m-2" + frame_end
    frames = b"%x\r\n%b\r\n" % (len(frame), frame) * 2
    with open_stream(OPENING) as stream:
        stream.load.begin_counting(b"m-2")
        stream.say(frames[:cut])
        stream.say(frames[cut:])
        assert len(stream.load.count(2, seconds=0).times) == 2


def test_a_refused_stream_fails() -> None:
    with pytest.raises(LoadFailedError, match="503"), open_stream(b"HTTP/1.1 503 Busy\r\n\r\n"):
        pytest.fail("there is no stream")


def test_a_stream_that_ends_fails() -> None:
    with open_stream(OPENING) as stream:
        stream.connection.close()
        with pytest.raises(LoadFailedError, match="a stream ended"):
            stream.load.count(1, seconds=10)


def test_percentiles_are_values_that_occurred() -> None:
    ordered = [float(value) for value in range(1, 101)]
    assert [percentile(ordered, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == 7.0


def test_every_payload_has_the_size_that_the_report_names() -> None:
    assert {len(payload(mark)) for mark in ("m", "round-00000001-")} == {PAYLOAD_BYTES}


def test_the_report_shows_medians_ratios_and_targets() -> None:
    def rounds(*cpu: float) -> list[Round]:
        return [
            Round(
                cpu_us_per_delivery=us,
                deliveries_per_second=1e6 / us,
                latency_ms_p50=1,
                latency_ms_p99=2,
                latency_ms_max=3,
                client_busy=0.25,
            )
            for us in cpu
        ]

    results = Results(
        plan=Plan(streams=1000, rounds=3, bursts=1, burst=20, batches=1, batch=1, steady_rounds=2),
        fan_out={
            BARE_ASGI.name: FanOut(
                bytes_per_stream=10_240, cpu_us_per_open=100, singles=rounds(5, 10, 90), bursts=rounds(4)
            ),
            SSE_HUB.name: FanOut(
                bytes_per_stream=15_360, cpu_us_per_open=200, singles=rounds(12, 15, 20), bursts=rounds(6)
            ),
        },
        sends={"persisted": Sends(sent=50_000, found=49_999, seconds=4, server_cpu_seconds=1)},
        steady={
            SSE_HUB.name: SteadyState(
                memory_bytes=[1 << 20, 2 << 20],
                slope_bytes_per_round=1 << 20,
                deliveries_per_round=5000,
                reconnects_per_round=50,
            )
        },
    )
    page = render(results).splitlines()
    assert "| memory (PSS), KiB | 10.0 | 15.0 | ≤ 16 KiB |" in page
    assert "| memory, × bare ASGI | 1.00 | 1.50 |  |" in page
    assert "| CPU per delivery, µs | 10.0 | 15.0 | ≤ 15 µs |" in page
    assert "| CPU per delivery, µs | 4.0 | 6.0 | ≤ 15 µs |" in page
    assert "| sends per second | 12,500 | ≥ 5,000 persisted |" in page
    assert "| messages found again | 49,999 | all |" in page
    assert "| slope, KiB per round | +1024.0 | none |" in page


def test_a_quick_run_writes_the_report(tmp_path: Path) -> None:
    out = tmp_path / "results" / "report.md"
    run = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--target", BARE_ASGI.name, "--out", str(out)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert out.read_text() == run.stdout.removesuffix("\n")
    assert "## One broadcast at a time, 200 bytes to 200 streams" in run.stdout
