"""Presence: what nodes learn of each other, and for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sse_domain.ports import Presence
from sse_domain.presence import Audiences, ClientInfo, Members
from tests.integration.contracts.test_byte_for_byte import NAMES
from tests.support.clock import MICROSECOND
from tests.support.presences import HUBS, Hub, connection, report

LEASE = 1000.0  # so that the time that a test itself takes does not count
MANY = 3000  # more than goes into one part or page of anything


@pytest.fixture(params=HUBS)
async def hub(request: pytest.FixtureRequest) -> AsyncIterator[Hub]:
    """A new hub: the test runs once for each Presence that there is."""
    async with HUBS[request.param]() as hub:
        yield hub


@pytest.fixture
async def asker(hub: Hub) -> Presence:
    """A node that asks about others. It has a connection too, of which no answer tells it."""
    asker = await joined(hub, "asker", connection("own", "own", "own"))
    assert await knows(asker) == set()
    return asker


async def joined(hub: Hub, node_id: str, *connections: ClientInfo) -> Presence:
    node = hub.node(node_id)
    assert not await node.renew(report(node_id), LEASE)
    await node.change(connections, [])
    return node


async def knows(asker: Presence) -> set[str]:
    """The connections to other nodes."""
    return {info.connection_id for info in await asker.clients(None, 10 * MANY)}


async def test_a_node_is_what_it_last_said_of_itself_to_all_but_itself(hub: Hub, asker: Presence) -> None:
    await joined(hub, "b")
    node = await joined(hub, "a")
    assert await asker.nodes() == [report("a"), report("b")]
    assert await node.renew(report("a", 12.5), LEASE)
    assert await asker.nodes() == [report("a", 12.5), report("b")]
    assert await node.nodes() == [report("asker"), report("b")]


async def test_what_a_node_said_ends_with_its_lease_and_it_is_told_so(hub: Hub, asker: Presence) -> None:
    node = await joined(hub, "a", connection("one", "ana", "team"))
    await hub.pass_time(LEASE - 10)
    assert await knows(asker) == {"one"}
    assert await asker.renew(report("asker"), LEASE)
    await hub.pass_time(20)
    assert await asker.nodes() == []
    assert await knows(asker) == set()
    assert await asker.users(["ana"]) == {}
    assert await asker.group("team", 10) == ([], [])
    assert await asker.audiences([], [], []) == (0, 0, 0)
    assert not await node.renew(report("a"), LEASE)
    assert await asker.nodes() == [report("a")]
    assert await knows(asker) == set()
    await node.change([connection("two", "ana")], [])
    assert await knows(asker) == {"two"}


async def test_a_renewed_lease_goes_on_with_all_that_was_said(hub: Hub, asker: Presence) -> None:
    node = await joined(hub, "a", connection("one", "ana", "team"))
    for _ in range(3):
        await hub.pass_time(LEASE - 10)
        assert await node.renew(report("a"), LEASE)
    assert await knows(asker) == {"one"}
    assert await asker.users(["ana"]) == {"ana": 1}
    assert await asker.group("team", 10) == (["one"], ["ana"])
    await hub.pass_time(LEASE + 10)
    assert await knows(asker) == set()


async def test_a_node_without_connections_is_not_taken_for_one_that_was_lost(hub: Hub, asker: Presence) -> None:
    node = await joined(hub, "a")
    assert await node.renew(report("a"), LEASE)
    await node.change([connection("one")], [])
    await node.change([], ["one"])
    await hub.pass_time(LEASE - 10)
    assert await node.renew(report("a"), LEASE)
    assert await asker.nodes() == [report("a")]


async def test_a_lease_of_no_seconds_ends_everything_at_once(hub: Hub, asker: Presence) -> None:
    node = await joined(hub, "a", connection("one", "ana", "team"))
    await joined(hub, "b", connection("two", "ana", "team"))
    assert not await node.renew(report("a"), 0)
    assert await asker.nodes() == [report("b")]
    assert await knows(asker) == {"two"}
    assert await asker.users(["ana"]) == {"ana": 1}
    await node.change([connection("one")], [])
    assert await knows(asker) == {"two"}
    assert not await node.renew(report("a"), LEASE)
    assert await knows(asker) == {"two"}


async def test_without_a_standing_lease_nothing_is_kept(hub: Hub, asker: Presence) -> None:
    node = hub.node("a")
    await node.change([connection("early")], [])
    assert not await node.renew(report("a"), LEASE)
    await node.change([connection("one")], [])
    assert await knows(asker) == {"one"}
    await hub.pass_time(LEASE + 10)
    await node.change([connection("late")], [])
    assert not await node.renew(report("a"), LEASE)
    assert await knows(asker) == set()


async def test_another_process_under_the_id_of_a_node_begins_with_nothing(hub: Hub, asker: Presence) -> None:
    old = await joined(hub, "a", *(connection(f"old {number}", "ana") for number in range(5)))
    for _ in range(3):  # what it says goes by other numbers than the new one's
        await old.change([], ["unknown"])
    new = await joined(hub, "a", connection("new", "ana"))
    assert await knows(asker) == {"new"}
    await old.change([connection("late")], ["new"])
    assert await asker.users(["ana"]) == {"ana": 1}
    assert not await old.renew(report("a"), 0)
    assert await new.renew(report("a"), LEASE)
    await new.change([connection("newer")], [])
    assert await knows(asker) == {"new", "newer"}


async def test_changes_may_be_said_again_and_about_what_is_not_there(hub: Hub, asker: Presence) -> None:
    one, two = connection("one", "ana", "team"), connection("two", "ana", "team")
    node = await joined(hub, "a", one, one)
    for _ in range(2):
        await node.change([one, two], ["three"])
        assert await asker.clients(None, 10) == [one, two]
        assert await asker.users(["ana"]) == {"ana": 2}
    for _ in range(2):
        await node.change([], ["one", "one", "three"])
        assert await asker.clients(None, 10) == [two]
        assert await asker.users(["ana"]) == {"ana": 1}
        assert await asker.group("team", 10) == (["two"], ["ana"])
    await node.change([], [])
    assert await knows(asker) == {"two"}


async def test_what_is_both_new_and_gone_is_gone(hub: Hub, asker: Presence) -> None:
    node = await joined(hub, "a", connection("one"))
    await node.change([connection("one", "ana"), connection("two", "ana")], ["two", "one"])
    assert await knows(asker) == set()
    assert await asker.users(["ana"]) == {}


async def test_a_connection_has_the_groups_that_were_said_last(hub: Hub, asker: Presence) -> None:
    node = await joined(hub, "a", connection("one", "ana", "team", "club"), connection("two", "bob", "team"))
    await node.change([connection("one", "ana", "club", "crew")], [])
    assert await asker.group("team", 10) == (["two"], ["bob"])
    assert await asker.group("club", 10) == await asker.group("crew", 10) == (["one"], ["ana"])
    assert await asker.users(["ana"]) == {"ana": 1}
    assert await asker.audiences([], [], []) == (2, 2, 3)
    await node.change([connection("one", "ana", "crew"), connection("one", "ana", "squad")], [])
    assert await asker.group("crew", 10) == ([], [])
    await node.change([], ["one", "two"])
    for group in ("team", "club", "crew", "squad"):
        assert await asker.group(group, 10) == ([], [])


async def test_a_connection_comes_back_unchanged(hub: Hub, asker: Presence) -> None:
    infos = [
        connection("plain"),
        connection("full", "ana", "b", "a", "c", client_id="tab", event_types=["note", "alert"]),
        connection("none", event_types=[]),
        replace(connection("behind"), state="lagging", connected_at=datetime(1, 1, 1, tzinfo=UTC)),
        replace(connection("ahead"), connected_at=datetime.max.replace(tzinfo=UTC)),
        *(replace(connection(f"{at}"), connected_at=datetime(2026, 1, 1, 0, 0, 0, at, tzinfo=UTC)) for at in (0, 1)),
    ]
    await joined(hub, "a", *infos)
    found = {info.connection_id: info for info in await asker.clients(None, 10)}
    assert found == {info.connection_id: info for info in infos}
    assert all(info.connected_at.utcoffset() == timedelta(0) for info in found.values())


async def test_users_are_counted_over_the_other_nodes(hub: Hub, asker: Presence) -> None:
    ana, bob = [connection(f"{number}", "ana") for number in range(4)], connection("bob", "bob")
    await joined(hub, "a", *ana[:3], bob)
    node = await joined(hub, "b", ana[3], connection("nobody"))
    assert await asker.users(["ana", "bob", "own", "eve"]) == {"ana": 4, "bob": 1}
    assert await node.users(["ana", "bob", "own", "eve", "ana"]) == {"ana": 3, "bob": 1, "own": 1}
    assert await asker.users([]) == {}


async def test_a_groups_members_are_told_once_each_by_name_and_each_kind_to_the_limit(
    hub: Hub, asker: Presence
) -> None:
    await joined(
        hub,
        "a",
        connection("1", "bob", "team", client_id="tab"),
        connection("2", "bob", "team", client_id="desk"),
        connection("3", None, "team", client_id="kiosk"),
        connection("4", "eve", "other", client_id="other"),
    )
    await joined(
        hub,
        "b",
        connection("5", "ana", "team", client_id="tab"),
        connection("6", "bob", "team", "other", client_id="desk"),
    )
    assert await asker.group("team", 10) == (["desk", "kiosk", "tab"], ["ana", "bob"])
    assert await asker.group("team", 2) == (["desk", "kiosk"], ["ana", "bob"])
    assert await asker.group("team", 1) == (["desk"], ["ana"])
    assert await asker.group("team", 0) == ([], [])
    assert await asker.group("own", 10) == await asker.group("tea", 10) == ([], [])


async def test_a_member_stays_for_as_long_as_one_of_its_connections_does(hub: Hub, asker: Presence) -> None:
    node = await joined(hub, "a", *(connection(each, "ana", "team", client_id="tab") for each in ("1", "2", "3")))
    await node.change([connection("1", "ana", client_id="tab")], ["2"])
    assert await asker.group("team", 10) == (["tab"], ["ana"])
    await node.change([], ["3"])
    assert await asker.group("team", 10) == ([], [])
    assert await asker.users(["ana"]) == {"ana": 1}


async def test_clients_are_told_the_oldest_first_over_all_other_nodes(hub: Hub, asker: Presence) -> None:
    one, two = connection("one", "ana", age=30), connection("two", "bob", age=10)
    three, four = connection("three", "ana", age=20), connection("four", age=20)
    five = replace(three, connection_id="five", connected_at=three.connected_at + MICROSECOND)
    await joined(hub, "b", two, three)
    await joined(hub, "a", five, four, one)
    assert await asker.clients(None, 10) == [one, four, three, five, two]
    assert await asker.clients(None, 3) == [one, four, three]
    assert await asker.clients("ana", 10) == [one, three, five]
    assert await asker.clients("ana", 1) == [one]
    assert await asker.clients("own", 10) == await asker.clients("an", 10) == await asker.clients(None, 0) == []


async def test_audiences_count_each_once_and_of_the_own_node_what_it_names(hub: Hub, asker: Presence) -> None:
    assert await asker.audiences([], [], []) == (0, 0, 0)
    assert await asker.audiences(["x", "y"], ["u"], []) == Audiences(2, 1, 0)
    await joined(hub, "a", connection("1", "ana", "team", "club", client_id="tab"), connection("2", None, "team"))
    await joined(hub, "b", connection("3", "ana", "team", "crew", client_id="tab"), connection("4", "bob"))
    assert await asker.audiences([], [], []) == Audiences(clients=3, users=2, groups=3)
    named = await asker.audiences({"tab", "new"}, ("bob", "new"), {"new": 1, "crew": 1, "newer": 1}.keys())
    assert named == Audiences(clients=4, users=3, groups=5)


async def test_names_are_what_they_are_byte_for_byte(hub: Hub, asker: Presence) -> None:
    there = [
        connection(f"{number}", name, name, f"{name}{name}", client_id=name, age=-number)
        for number, name in enumerate(NAMES)
    ]
    node = await joined(hub, "a", *there[::2])
    await joined(hub, "b", *there[1::2], connection("every", "every", *NAMES, age=-1e6))
    assert await asker.users(NAMES) == dict.fromkeys(NAMES, 1)
    assert (await asker.clients(None, 1000))[:-1] == there
    for name, info in zip(NAMES, there, strict=True):
        clients, users = {name, "every"}, {name, "every"}
        if name == "  ":  # it is also " " twice
            clients.add(" ")
            users.add(" ")
        assert await asker.group(name, 10) == Members(sorted(clients), sorted(users))
        assert await asker.clients(name, 10) == [info]
    groups = {group for name in NAMES for group in (name, f"{name}{name}")}
    expected = Audiences(len(NAMES) + 1, len(NAMES) + 1, len(groups))
    assert await asker.audiences([], [], []) == expected
    assert await asker.audiences(NAMES, NAMES, NAMES) == expected
    await node.change([], [info.connection_id for info in there[::2]])
    assert await asker.users(NAMES) == dict.fromkeys(NAMES[1::2], 1)


async def test_members_of_a_group_come_in_code_point_order(hub: Hub, asker: Presence) -> None:
    await joined(hub, "a", *(connection(f"{at}", name, "team", client_id=name) for at, name in enumerate(NAMES[::2])))
    await joined(hub, "b", *(connection(f"{at}", name, "team", client_id=name) for at, name in enumerate(NAMES[1::2])))
    in_order = sorted(NAMES)
    for limit in (1, 7, len(NAMES), 1000):
        assert await asker.group("team", limit) == (in_order[:limit], in_order[:limit])


async def test_many_connections_are_as_few(hub: Hub, asker: Presence) -> None:
    """Ana has so many that her name alone fills the pages of a group."""
    many = [connection(f"{number:05}", "ana", "team", age=MANY - number) for number in range(MANY)]
    late = [connection("bob", "bob", "team"), connection("x", "cyd", "team", *(f"g{number}" for number in range(49)))]
    a = await joined(hub, "a", *many[::2])
    b = await joined(hub, "b", *many[1::2], *late)
    names = [info.client_id for info in [*many, *late]]
    assert await asker.users(["ana", "bob"]) == {"ana": MANY, "bob": 1}
    assert await asker.clients(None, 10 * MANY) == [*many, *late]
    assert await asker.clients("ana", MANY - 1) == many[:-1]
    assert await asker.group("team", 10 * MANY) == (names, ["ana", "bob", "cyd"])
    assert await asker.group("team", 2500) == (names[:2500], ["ana", "bob", "cyd"])
    assert await asker.audiences([], [], []) == (MANY + 2, 3, 50)
    assert await a.renew(report("a"), LEASE)
    await a.change([], [info.connection_id for info in many[::2]])
    await b.change([connection(info.connection_id, "eve", "team") for info in many[1::2]], [])
    assert await asker.users(["ana", "eve"]) == {"eve": MANY // 2}
    assert await asker.group("team", 2500) == (names[1:-2:2] + names[-2:], ["bob", "cyd", "eve"])


async def test_many_connections_in_many_groups(hub: Hub, asker: Presence) -> None:
    groups = [f"group {number}" for number in range(50)]
    many = [connection(f"{number:03}", "ana", *groups) for number in range(200)]
    names = [info.client_id for info in many]
    node = await joined(hub, "a", *many)
    assert [await asker.group(group, 1000) for group in groups] == [(names, ["ana"])] * 50
    await node.change([], names[:-1])
    assert [await asker.group(group, 1000) for group in groups] == [(names[-1:], ["ana"])] * 50


async def test_many_users_are_asked_about_at_once(hub: Hub, asker: Presence) -> None:
    users = [f"user {number}" for number in range(500)]
    await joined(hub, "a", *(connection(user, user) for user in users[::2]))
    await joined(hub, "b", *(connection(user, user) for user in users[::4]))
    counts = await asker.users(users)
    assert counts == {user: 2 if user in users[::4] else 1 for user in users[::2]}
