"""The bus between the nodes of a hub: `sse_domain.ports.Bus`, on what `sse_domain.notes` says."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from sse_domain.message import BROADCAST, MAX_DATA_BYTES, Message, Priority, Receiver
from sse_domain.notes import Answer, Committed, EndStreams, HasRead, LearnMemberships, Note, Passing
from sse_domain.replay import LogHead
from tests.support.buses import HUBS, Hub, Node, mark

AT = datetime(2026, 3, 4, 5, 6, 7, 890_123, tzinfo=UTC)
HEAD = LogHead(epoch="tests123", seq=2**53 + 1, purged_through=17, memberships=4)
URGENT = Message("event-1", 2**53, "a.b", Receiver.user("ana"), Priority.URGENT, b'{"a":1.50}', AT, 0.1, AT)
QUIET = Message("event-2", None, "c", BROADCAST, Priority.NORMAL, b'"\\u0000"', AT.replace(microsecond=0))
ODD = Message("event-3", 1, "d", Receiver.group("Ärger 🙂 "), Priority.HIGH, "\u2028".join('""').encode(), AT, 3e9)
LARGE = Message(
    "event-4", None, "e", Receiver.client("tab"), Priority.NORMAL, b'"%s"' % (b"x" * MAX_DATA_BYTES)[2:], AT
)

NOTES: list[Note] = [
    Committed(HEAD),
    Committed(HEAD, (URGENT, ODD)),
    Passing("tests123", 2**40, (QUIET,)),
    Passing("tests123", 0, (LARGE,)),
    Passing("tests123", 7, (ODD, QUIET)),
    HasRead("Zoë 🙂"),
    EndStreams("command-1", Receiver.user("ana"), True),
    EndStreams("command-2", Receiver.client("tab"), False),
    LearnMemberships("question-1", "e" * 8, 7),
    Answer("question-1"),
    Answer("command-2", 100_000),
]


@pytest.fixture(params=HUBS)
async def hub(request: pytest.FixtureRequest) -> AsyncIterator[Hub]:
    async with HUBS[request.param]() as hub:
        yield hub


async def test_what_a_node_tells_all_others_hear_and_it_does_not(hub: Hub) -> None:
    ana, bob, cleo = await hub.nodes("ana", "bob", "cleo")
    ana.bus.tell(mark(1))
    await bob.until_heard(mark(1))
    bob.bus.tell(mark(2))
    for node in (ana, cleo):
        await node.until_heard(mark(2))
    assert ana.heard == [("bob", mark(2))]
    assert bob.heard == [("ana", mark(1))]
    assert cleo.heard == [("ana", mark(1)), ("bob", mark(2))]


async def test_notes_come_in_the_order_in_which_they_were_told(hub: Hub) -> None:
    teller, hearer = await hub.nodes("teller", "hearer")
    told = [mark(number) for number in range(2000)]
    for note in told:
        teller.bus.tell(note)
    await hearer.until_heard(told[-1])
    assert hearer.notes == told


async def test_notes_of_every_kind_come_as_they_were_told(hub: Hub) -> None:
    teller, hearer = await hub.nodes("teller", "hearer")
    for note in NOTES:
        teller.bus.tell(note)
    await hearer.until(lambda: len(hearer.heard) == len(NOTES))
    # Equal is not enough: an enumeration's member equals its value.
    assert repr(hearer.heard) == repr([("teller", note) for note in NOTES])


async def test_what_is_told_too_early_or_too_late_does_no_harm(hub: Hub) -> None:
    teller = hub.node("teller")
    teller.bus.tell(mark(1))
    [hearer] = await hub.nodes("hearer")
    await teller.start()
    teller.bus.tell(mark(2))
    await hearer.until_heard(mark(2))
    await teller.bus.close()
    teller.bus.tell(mark(3))
    [other] = await hub.nodes("other")
    other.bus.tell(mark(4))
    await hearer.until_heard(mark(4))
    assert mark(3) not in hearer.notes


async def test_a_bus_that_is_closed_has_sent_what_was_told_and_hears_nothing_more(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sse_adapters.redis.bus.CLOSE_SECONDS", 20)
    teller, hearer = await hub.nodes("teller", "hearer")
    told = [mark(number) for number in range(2000)]
    for note in told:
        teller.bus.tell(note)
    await teller.bus.close()
    await teller.bus.close()
    await hearer.until_heard(told[-1])
    assert hearer.notes == told
    [other] = await hub.nodes("other")
    hearer.bus.tell(mark(-1))
    await other.until_heard(mark(-1))
    assert teller.heard == []


async def test_one_that_was_never_started_can_be_closed(hub: Hub) -> None:
    bus = hub.node("idle").bus
    await bus.close()
    await bus.close()


async def test_an_error_in_the_node_stops_nothing(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    [teller] = await hub.nodes("teller")
    heard = Node("hearer", hub.node("hearer").bus)

    def hear(node_id: str, note: Note) -> None:
        heard.hear(node_id, note)
        if note == mark(1):
            raise RuntimeError("not this one")

    def miss() -> None:
        heard.miss()
        raise RuntimeError("nor this")

    with caplog.at_level(logging.ERROR):
        await heard.bus.start(hear, miss)
        await heard.until(lambda: heard.missed > 0)
        for number in range(3):
            teller.bus.tell(mark(number))
        await heard.until_heard(mark(2))
    assert heard.notes == [mark(0), mark(1), mark(2)]
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["nor this", "not this one"]


async def test_a_bus_tells_its_kind_and_that_it_is_well(hub: Hub) -> None:
    nodes = await hub.nodes("ana", "bob")
    nodes[0].bus.tell(mark(1))
    await nodes[1].until_heard(mark(1))
    nodes[1].bus.tell(mark(2))
    await nodes[0].until_heard(mark(2))
    for node in nodes:
        assert node.bus.health()["healthy"] is True
        assert node.bus.health()["kind"] in HUBS


async def test_hubs_do_not_hear_each_other(hub: Hub, request: pytest.FixtureRequest) -> None:
    ana, bob = await hub.nodes("ana", "bob")
    async with HUBS[request.node.callspec.params["hub"]]() as other_hub:
        other_ana, other_bob = await other_hub.nodes("ana", "bob")
        other_ana.bus.tell(mark(1))
        await other_bob.until_heard(mark(1))
        ana.bus.tell(mark(2))
        await bob.until_heard(mark(2))
        assert bob.notes == [mark(2)]
        assert other_bob.notes == [mark(1)]
