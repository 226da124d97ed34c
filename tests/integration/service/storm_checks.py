"""What must be true after a storm, whatever happened in it (SPEC §3.1-3.4, §3.8, §4). They raise AssertionError."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.integration.service.storm import LAST, Sent, Storm, StormReader
from tests.support.http import HubApi, JsonObject
from tests.support.sql import query


class Row(NamedTuple):
    """A message as the database has it."""

    seq: int
    event_id: str
    n: int
    priority: int
    receiver_type: str
    receiver_id: str | None


async def log_of(database_url: str) -> list[Row]:
    statement = "SELECT id, event_id, data, priority, receiver_type, receiver_id FROM app_sse_message ORDER BY id"
    rows = await query(database_url, statement)
    return [Row(seq, event_id, json.loads(data)["n"], *rest) for seq, event_id, data, *rest in map(tuple, rows)]


async def check_storm(storm: Storm, database_url: str, api: HubApi) -> None:
    log = await log_of(database_url)
    check_log(log, storm.sent)
    for reader in storm.readers:
        check_reader(log, reader)
    await check_unread(log, api, storm.marker.marked)
    assert not storm.surprises, storm.surprises


def check_log(log: Sequence[Row], sent: Sequence[Sent]) -> None:
    """Dense, everything answered in it once and where it was said to be, nothing else but what went unanswered."""
    assert [row.seq for row in log] == list(range(1, len(log) + 1)), "the log has a gap"
    assert most_frequent(row.event_id for row in log) == 1, "an event_id is in the log twice"
    assert most_frequent(row.n for row in log) == 1, "a message is in the log twice"
    assert log[-1].event_id == LAST
    by_n = {row.n: row for row in log[:-1]}
    assert by_n.keys() <= {message.n for message in sent}, "a message that nobody has sent"
    for message in sent:
        for answer in message.answers:
            row = by_n.get(message.n)
            assert row, f"answered and lost: {message}"
            assert (answer["seq"], answer["event_id"]) == (row.seq, row.event_id), message
        if message.event_id is not None:
            assert message.answers, "a publisher has given up"


def most_frequent(values: Iterable[object]) -> int:
    return max(Counter(values).values())


def check_reader(log: Sequence[Row], reader: StormReader) -> None:
    """Exactly its audience's messages, each once over its whole life, rising within each priority."""
    priority_of = {row.seq: row.priority for row in log}
    expected = [(row.seq, row.n) for row in log[:-1] if is_for(row, reader.params)]
    given = Counter(reader.given)
    assert given.keys() >= set(expected), f"{reader.params} missed {sorted(set(expected) - given.keys())}"
    assert sorted(reader.given) == expected, f"{reader.params} was given too much: {given - Counter(expected)}"
    for priority in range(3):
        lane = [seq for seq, _ in reader.given if priority_of[seq] == priority]
        assert lane == sorted(lane), f"{reader.params}: out of order"


def is_for(row: Row, params: JsonObject) -> bool:
    if row.receiver_type == "group":
        return params["user_id"] in ("ada", "bob")
    return row.receiver_type == "broadcast" or row.receiver_id == params["user_id"]


async def check_unread(log: Sequence[Row], api: HubApi, marked: set[str]) -> None:
    """Counted one by one: what is visible and not marked. Of these users only ada is subscribed, and only zoe reads."""
    for user in ("ada", "bob", "zoe"):
        visible = [
            row
            for row in log
            if row.receiver_type == "broadcast"
            or row.receiver_id == user
            or (row.receiver_type, user) == ("group", "ada")
        ]
        unread = [row for row in visible if user != "zoe" or row.event_id not in marked]
        counts = await api.unread(user)
        assert counts["total"] == len(unread), user
        by_priority = Counter(row.priority for row in unread)
        assert [counts["by_priority"][name] for name in ("normal", "high", "urgent")] == [
            by_priority[p] for p in range(3)
        ]
