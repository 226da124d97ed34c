"""What it costs a node to be told what another has committed, when it has nobody to give it to."""

import time

from bench.nodes.figures import Notes
from bench.nodes.loaded_hub import LoadedHub, info
from bench.nodes.plan import Requests
from bench.process import MeasuredServer
from bench.streams.posting import batch_to_users, send_steadily
from bench.streams.targets import API_PREFIX

_NOBODY = "nobody"  # has no stream anywhere


def notes(hub: LoadedHub, requests: Requests, seconds: float) -> Notes:
    """Send persisted messages to the first node for so long, after as long with nothing to do. The CPU is the last
    node's, over what it used with nothing to do.
    """
    sender, other = hub.servers[0], hub.servers[-1]
    body = batch_to_users(requests.messages, "note", persist=True, user_id=lambda _: _NOBODY)
    count = round(requests.per_second * seconds)
    heard_before = _heard(other)
    idle_share = share_of_core([other], seconds)[0]
    began, cpu_before = time.monotonic(), other.cpu_seconds_at_rest()
    send_steadily(sender, f"{API_PREFIX}/send/batch", lambda _: body, count=count, per_second=requests.per_second)
    used = other.cpu_seconds_at_rest() - cpu_before
    took = time.monotonic() - began
    return Notes(
        seconds=took,
        messages=count * requests.messages,
        notes=_heard(other) - heard_before,
        cpu_seconds=used - idle_share * took,
    )


def share_of_core(servers: list[MeasuredServer], seconds: float) -> list[float]:
    """What each of them uses over this time, in which it is given nothing to do."""
    began, before = time.monotonic(), [server.cpu_seconds_at_rest() for server in servers]
    time.sleep(seconds)
    after = [server.cpu_seconds() for server in servers]
    took = time.monotonic() - began
    return [(end - start) / took for start, end in zip(before, after, strict=True)]


def _heard(server: MeasuredServer) -> int:
    """How many notes of other nodes it has heard."""
    return int(info(server)["bus"]["heard"])
