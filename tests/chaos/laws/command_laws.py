"""Laws of commands that end a client's streams (SPEC §2 Administration)."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.laws.evidence import LEARN_SECONDS, settled_at
from tests.chaos.laws.stream_laws import NO_CONTENT
from tests.chaos.laws.streams import Stream, Streams
from tests.chaos.record import FOREVER, Disconnect

DISMISSAL_SECONDS = 30.0


def disconnected_streams_end(streams: Streams) -> Iterator[str]:
    """§2: a command to disconnect a client ends its streams on every node, and tells them whether to return."""
    for stream, command in _concerned(streams):
        connection = stream.connection
        if stream.opened_at < command.at < connection.until:
            if connection.until > command.answered_at + LEARN_SECONDS:
                yield f"{stream} went on until {connection.until:.3f}, and was disconnected at {command.at:.3f}"
            for received in connection.frames:
                if received.event == "sse.close" and isinstance(received.data, dict):
                    told = received.data
                    if told.get("reason") == "disconnected" and told.get("reconnect") is not command.reconnect:
                        yield f"{stream} was told {told} by a command with reconnect={command.reconnect}"


def dismissed_clients_are_turned_away(streams: Streams) -> Iterator[str]:
    """§2: without `reconnect` that client's next connects are answered 204, for 30 s."""
    for stream, command in _concerned(streams):
        connection = stream.connection
        if command.reconnect or connection.status in (None, NO_CONTENT):
            continue
        turned_away_until = command.at + DISMISSAL_SECONDS - 1
        if command.answered_at + LEARN_SECONDS < connection.asked_at and connection.until < turned_away_until:
            yield f"{stream} was let in at {connection.asked_at:.3f}, and dismissed at {command.at:.3f}"


def _concerned(streams: Streams) -> Iterator[tuple[Stream, Disconnect]]:
    """Streams with the last command that may concern them, where nothing kept the nodes from telling each other."""
    evidence = streams.evidence
    for stream in streams:
        connection = stream.connection
        for command in evidence.record.disconnects:
            accepted = command.accepted
            if accepted is None or connection.client_id != command.client_id:
                continue
            if not evidence.record.bus and accepted.node != connection.node:
                continue
            others = [c for c in evidence.record.disconnects if c.client_id == command.client_id and c is not command]
            alone = not any(
                command.at < other.at < command.at + DISMISSAL_SECONDS
                # What was asked for before may come later, if it was not answered.
                or other.at < command.at < settled_at(other) + LEARN_SECONDS
                for other in others
            )
            calm_until = min(connection.until, command.answered_at + DISMISSAL_SECONDS)
            if alone and calm_until < FOREVER and evidence.is_calm(connection.node, command.at, calm_until):
                yield stream, command


LAWS = (disconnected_streams_end, dismissed_clients_are_turned_away)
