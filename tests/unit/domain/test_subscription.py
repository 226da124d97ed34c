"""Who may see what (SPEC §3.6), each clause from both sides."""

from __future__ import annotations

import pytest

from sse_domain.errors import InvalidInput
from sse_domain.message import BROADCAST, Message, Receiver, accept
from sse_domain.subscription import MAX_SUBSCRIPTION_TYPES, Audience, Subscription, check_event_types
from tests.unit.domain.store import DAWN, draft


def message(receiver: Receiver, seq: int | None = 5, event_type: str = "a") -> Message:
    asked = draft(receiver, persist=seq is not None, event_type=event_type)
    return accept(asked, event_id="e", seq=seq, now=DAWN)


def subscription(event_types: tuple[str, ...] | None = None, joined_after: int = 4) -> Subscription:
    return Subscription(user_id="ana", group="red", event_types=event_types, joined_after=joined_after)


def audience(groups_after: int = 0, groups: tuple[str, ...] = (), **subscriptions: Subscription) -> Audience:
    return Audience(
        client_id="phone",
        user_id="ana",
        groups=frozenset(groups),
        groups_after=groups_after,
        subscriptions=subscriptions,
    )


@pytest.mark.parametrize(
    ("receiver", "admitted"),
    [
        (BROADCAST, True),
        (Receiver.user("ana"), True),
        (Receiver.user("Ana"), False),
        (Receiver.user("ana "), False),
        (Receiver.user("phone"), False),
        (Receiver.client("phone"), True),
        (Receiver.client("ana"), False),
        (Receiver.client("desk"), False),
        (Receiver.group("ana"), False),
        (Receiver.group("phone"), False),
        (Receiver.group("red"), False),
    ],
)
def test_a_stream_gets_its_own_and_broadcast(receiver: Receiver, admitted: bool) -> None:
    assert audience().admits(message(receiver)) is admitted
    assert audience().admits(message(receiver, seq=None)) is admitted


def test_an_anonymous_stream_gets_no_users_messages() -> None:
    anonymous = Audience(client_id=None, subscriptions={})
    assert anonymous.admits(message(BROADCAST))
    assert not anonymous.admits(message(Receiver.user("ana")))
    assert not anonymous.admits(message(Receiver.client("phone")))


def test_a_url_group_counts_from_the_opening() -> None:
    stream = audience(groups_after=5, groups=("red",))
    assert not stream.admits(message(Receiver.group("red"), seq=5))
    assert stream.admits(message(Receiver.group("red"), seq=6))
    assert stream.admits(message(Receiver.group("red"), seq=None))
    assert not stream.admits(message(Receiver.group("Red"), seq=6))


def test_a_subscription_counts_from_the_join() -> None:
    stream = audience(red=subscription(joined_after=5))
    assert not stream.admits(message(Receiver.group("red"), seq=5))
    assert stream.admits(message(Receiver.group("red"), seq=6))
    assert stream.admits(message(Receiver.group("red"), seq=None))


def test_of_a_url_group_and_a_subscription_either_admits() -> None:
    stream = audience(groups_after=9, groups=("red",), red=subscription(("a",), joined_after=5))
    assert stream.admits(message(Receiver.group("red"), seq=6))
    assert not stream.admits(message(Receiver.group("red"), seq=6, event_type="b"))
    assert stream.admits(message(Receiver.group("red"), seq=10, event_type="b"))


def test_a_subscription_admits_its_types_only() -> None:
    narrow = subscription(("a", "c"))
    assert narrow.admits(message(Receiver.group("red"), event_type="a"))
    assert narrow.admits(message(Receiver.group("red"), event_type="c"))
    assert not narrow.admits(message(Receiver.group("red"), event_type="b"))
    assert not narrow.admits(message(Receiver.group("red"), seq=None, event_type="b"))


def test_a_stream_filter_is_on_top_of_everything() -> None:
    stream = audience(red=subscription())
    stream.event_types = frozenset({"a"})
    for receiver in (BROADCAST, Receiver.user("ana"), Receiver.client("phone"), Receiver.group("red")):
        assert stream.admits(message(receiver, event_type="a"))
        assert not stream.admits(message(receiver, event_type="b"))


def test_a_membership_change_is_seen_at_once() -> None:
    shared = {"red": subscription()}
    stream = Audience(client_id=None, user_id="ana", subscriptions=shared)
    assert stream.admits(message(Receiver.group("red")))
    del shared["red"]
    assert not stream.admits(message(Receiver.group("red")))


def test_event_types_are_kept_in_order_and_once() -> None:
    assert check_event_types(None) is None
    assert check_event_types(["b", "a", "b"]) == ("b", "a")
    most = [f"t{number}" for number in range(MAX_SUBSCRIPTION_TYPES)]
    assert check_event_types([*most, *most]) == tuple(most)


@pytest.mark.parametrize(
    "event_types",
    [[], [""], ["a", "sse.open"], ["a b"], [f"t{number}" for number in range(MAX_SUBSCRIPTION_TYPES + 1)]],
    ids=["none", "empty", "reserved", "space", "too many"],
)
def test_event_types_that_are_refused(event_types: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_event_types(event_types)
    assert refused.value.code == "invalid_event_types"
