"""What sse-hub is to reach, next to what one run measured. Every ratio is within that run."""

from collections.abc import Iterator
from statistics import median

from bench.page import Goal
from bench.streams.figures import FanOut, Results
from bench.streams.targets import C_FLOOR, NCHAN, SSE_HUB, SSE_HUB_PERSISTED

_KIB = 1024
BATCHES = "ephemeral, `/send/batch`"
PERSISTED_BATCHES = "persisted, `/send/batch`"
IN_PROCESS = "ephemeral, in-process to HTTP streams"
IN_PROCESS_LISTENERS = "ephemeral, in-process to `hub.listen`"


def goals(results: Results) -> Iterator[Goal]:
    """Those whose figures were measured."""
    hub = results.fan_out.get(SSE_HUB.name)
    if hub is not None:
        yield from _broadcasts(hub, results)
    if results.unicast is not None:
        sent = results.unicast
        what = f"publish to receipt, {sent.per_second:,} unicast messages/s, {sent.streams:,} idle streams"
        yield Goal(figure=f"{what}, p99", measured=sent.latency_ms(0.99), bound=10, at_least=False, form="{:.1f} ms")
        yield Goal(
            figure=f"longest pause with {sent.streams:,} streams: the greatest of these latencies",
            measured=sent.latency_ms(1),
            bound=20,
            at_least=False,
            form="{:.1f} ms",
        )
    yield from _rates(results)
    if results.idle is not None:
        yield Goal(
            figure=f"opening {results.idle.streams:,} streams",
            measured=results.idle.opened_per_second,
            bound=5000,
            at_least=True,
            form="{:,.0f}/s",
        )
        yield Goal(
            figure=f"heartbeats of {results.plan.streams:,} idle streams every {results.idle.heartbeat_seconds} s",
            measured=results.idle.heartbeat_share * 100,
            bound=2,
            at_least=False,
            form="{:.2f} % of a core",
        )
    if results.fan_out:
        yield Goal(
            figure="the load process's own CPU, in the worst of the tables of broadcasts",
            measured=100 * max(map(_load_busy, results.fan_out.values())),
            bound=70,
            at_least=False,
            form="{:.0f} % of the time",
        )


def _broadcasts(hub: FanOut, results: Results) -> Iterator[Goal]:
    nchan = results.fan_out.get(NCHAN.name)
    floor = results.fan_out.get(C_FLOOR.name)
    persisted = results.fan_out.get(SSE_HUB_PERSISTED.name)
    cpu = f"CPU per delivery, broadcasts one at a time, {hub.streams:,} streams"
    bursts = "deliveries/s in bursts"
    if nchan is not None:
        ratio = hub.main.cpu_us_per_delivery / nchan.main.cpu_us_per_delivery
        yield Goal(figure=cpu, measured=ratio, bound=0.85, at_least=False, form="{:.2f} × Nchan")
    if floor is not None:
        ratio = hub.main.cpu_us_per_delivery / floor.main.cpu_us_per_delivery
        yield Goal(figure=cpu, measured=ratio, bound=1.5, at_least=False, form="{:.2f} × the C floor")
    if nchan is not None:
        ratio = hub.main.latency_ms(0.99) / nchan.main.latency_ms(0.99)
        yield Goal(figure="p99 of such a broadcast", measured=ratio, bound=0.8, at_least=False, form="{:.2f} × Nchan")
        ratio = hub.deliveries_per_second / nchan.deliveries_per_second
        what = f"{bursts} of {results.plan.burst} messages, one worker each"
        yield Goal(figure=what, measured=ratio, bound=3, at_least=True, form="{:.2f} × Nchan")
    if persisted is not None:
        ratio = persisted.deliveries_per_second / hub.deliveries_per_second
        what = f"{bursts} with `persist=true` on SQLite"
        yield Goal(figure=what, measured=ratio, bound=0.85, at_least=True, form="{:.2f} × ephemeral")
    yield Goal(
        figure="server memory per idle stream",
        measured=hub.bytes_per_stream / _KIB,
        bound=10,
        at_least=False,
        form="{:.1f} KiB",
    )
    growth = [size for size in hub.sizes if size.streams in results.plan.growth]
    few, many = growth[0].streams, growth[-1].streams
    yield Goal(
        figure=f"growth with streams ({few:,} to {many:,}): CPU per delivery, the greatest",
        measured=max(size.cpu_us_per_delivery for size in growth) / growth[0].cpu_us_per_delivery,
        bound=1.15,
        at_least=False,
        form=f"{{:.2f}} × that of {few:,}",
    )


def _rates(results: Results) -> Iterator[Goal]:
    for name, bound in ((IN_PROCESS, 100_000), (IN_PROCESS_LISTENERS, 100_000), (BATCHES, 50_000)):
        if name in results.sends:
            rate = results.sends[name].per_second
            yield Goal(figure=f"sends, {name}", measured=rate, bound=bound, at_least=True, form="{:,.0f}/s")


def _load_busy(figures: FanOut) -> float:
    return max(median(each.load_busy for each in rounds) for rounds in (figures.main.rounds, figures.bursts))
