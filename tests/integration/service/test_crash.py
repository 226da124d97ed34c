"""A crash at any point loses nothing and repeats nothing (SPEC §3.1–3.4, §3.8)."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.integration.service.storm import LAST, Sent, StormPublisher, StormReader, Uptime
from tests.support.http import JsonObject, open_api
from tests.support.server_process import ServerProcess

CRASHES = 4
PUBLISHERS = 4


class Row(NamedTuple):
    """A message as the database has it."""

    seq: int
    event_id: str
    n: int
    priority: int
    receiver_type: str
    receiver_id: str | None


def log_of(database: Path) -> list[Row]:
    query = "SELECT id, event_id, data, priority, receiver_type, receiver_id FROM app_sse_message ORDER BY id"
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(query).fetchall()
    return [Row(seq, event_id, json.loads(data)["n"], *rest) for seq, event_id, data, *rest in rows]


async def test_a_storm_over_crashes(server: ServerProcess, tmp_path: Path) -> None:
    random = Random(20)
    uptime = Uptime()
    uptime.up.set()
    async with open_api(server.base_url) as api:
        await api.subscribe("ada", "team")
    readers = [
        StormReader(server.base_url, {"user_id": "ada"}, uptime),
        StormReader(server.base_url, {"user_id": "ada", "id": "second-device"}, uptime),
        StormReader(server.base_url, {"user_id": "bob", "group": "team"}, uptime),
        StormReader(server.base_url, {"user_id": "eve"}, uptime),
    ]
    publishers = [StormPublisher(server.base_url, str(number), uptime) for number in range(1, PUBLISHERS + 1)]
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for reader in readers:
            tasks.create_task(reader.run())
        for reader in readers:
            await reader.started.wait()
        publishing = [tasks.create_task(publisher.run()) for publisher in publishers]
        for _ in range(CRASHES):
            await uptime.until_answered(uptime.answered + random.randint(50, 300))
            uptime.up.clear()
            await server.kill9()
            await server.restart_on_same_port()
            uptime.up.set()
        await uptime.until_answered(uptime.answered + 100)
        for publisher in publishers:
            publisher.stopping = True
        await asyncio.gather(*publishing)
        async with open_api(server.base_url) as api:
            await api.broadcast(LAST, {"n": 0}, persist=True)
    await server.terminate()
    log = log_of(tmp_path / "sse-hub.db")
    check_log(log, [message for publisher in publishers for message in publisher.sent])
    for reader in readers:
        check_reader(log, reader)
        assert reader.connections > CRASHES


def check_log(log: list[Row], sent: list[Sent]) -> None:
    """Dense, everything answered in it once and where it was said to be, nothing else but what went unanswered."""
    assert [row.seq for row in log] == list(range(1, len(log) + 1))
    assert max(Counter(row.event_id for row in log).values()) == 1
    seqs: dict[int, int] = {row.n: row.seq for row in log if row.n}
    assert len(seqs) == len(log) - 1, "a message is in the log twice"
    known = {message.n for message in sent}
    assert seqs.keys() <= known
    assert all(message.seq == seqs[message.n] for message in sent if message.seq is not None)
    unanswered = [message for message in sent if message.seq is None]
    assert all(message.event_id is None for message in unanswered)
    assert any(message.tries > 1 for message in sent), "no crash fell between a send and its answer"


def check_reader(log: list[Row], reader: StormReader) -> None:
    """Exactly its audience's messages, each once over its whole life, rising within each priority."""
    priority_of = {row.seq: row.priority for row in log}
    expected = [(row.seq, row.n) for row in log[:-1] if is_for(row, reader.params)]
    assert sorted(reader.given) == expected
    for priority in range(3):
        lane = [seq for seq, _ in reader.given if priority_of[seq] == priority]
        assert lane == sorted(lane)


def is_for(row: Row, params: JsonObject) -> bool:
    if row.receiver_type == "group":
        return params["user_id"] in ("ada", "bob")
    return row.receiver_type == "broadcast" or row.receiver_id == params["user_id"]
