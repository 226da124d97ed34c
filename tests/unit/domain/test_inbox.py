"""The inbox contract (SPEC §4): visibility, status, queries and counts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sse_domain.cursor import START, Positions
from sse_domain.errors import InvalidInput
from sse_domain.inbox import (
    DEFAULT_PAGE,
    MAX_PAGE,
    InboxEntry,
    InboxQuery,
    Status,
    StatusFilter,
    UnreadCounts,
    count_unread,
    status_of,
    visible,
)
from sse_domain.message import BROADCAST, Message, Priority, Receiver, accept
from sse_domain.subscription import Subscription
from tests.unit.domain.store import DAWN, draft

RED = Subscription(user_id="ana", group="red", event_types=("a",), joined_after=4)


def message(
    receiver: Receiver = BROADCAST,
    *,
    seq: int = 5,
    priority: Priority = Priority.NORMAL,
    event_type: str = "a",
    ttl: int | None = None,
) -> Message:
    return accept(draft(receiver, priority=priority, event_type=event_type, ttl=ttl), event_id="e", seq=seq, now=DAWN)


@pytest.mark.parametrize(
    ("one", "sees"),
    [
        (message(BROADCAST), True),
        (message(Receiver.user("ana")), True),
        (message(Receiver.user("ben")), False),
        (message(Receiver.client("ana")), False),
        (message(Receiver.group("red")), True),
        (message(Receiver.group("red"), seq=4), False),
        (message(Receiver.group("red"), event_type="b"), False),
        (message(Receiver.group("blue")), False),
    ],
)
def test_what_a_user_sees(one: Message, sees: bool) -> None:
    assert visible(one, "ana", {"red": RED}, DAWN) is sees


def test_an_expired_message_is_not_seen() -> None:
    one = message(ttl=2)
    assert visible(one, "ana", {}, DAWN + timedelta(seconds=2, microseconds=-1))
    assert not visible(one, "ana", {}, DAWN + timedelta(seconds=2))


def test_status_rises_from_pending_to_sent_to_read() -> None:
    one = message(priority=Priority.HIGH)
    assert status_of(one, read=False, delivered=START) is Status.PENDING
    assert status_of(one, read=False, delivered=Positions(9, 4, 9)) is Status.PENDING
    assert status_of(one, read=False, delivered=Positions(0, 5, 0)) is Status.SENT
    assert status_of(one, read=True, delivered=START) is Status.READ
    assert Status.PENDING < Status.SENT < Status.READ


@pytest.mark.parametrize(
    ("chosen", "admitted"),
    [
        (StatusFilter.PENDING, {Status.PENDING}),
        (StatusFilter.SENT, {Status.SENT}),
        (StatusFilter.READ, {Status.READ}),
        (StatusFilter.UNREAD, {Status.PENDING, Status.SENT}),
    ],
)
def test_status_filters(chosen: StatusFilter, admitted: set[Status]) -> None:
    assert {status for status in Status if chosen.admits(status)} == admitted
    query = InboxQuery(user_id="ana", status=chosen)
    assert {status for status in Status if query.admits(InboxEntry(message=message(), status=status))} == admitted


ENTRY = InboxEntry(message=message(Receiver.group("red"), priority=Priority.HIGH), status=Status.SENT)


@pytest.mark.parametrize(
    ("query", "admitted"),
    [
        (InboxQuery(user_id="ana"), True),
        (InboxQuery(user_id="ana", event_type="a"), True),
        (InboxQuery(user_id="ana", event_type="b"), False),
        (InboxQuery(user_id="ana", group="red"), True),
        (InboxQuery(user_id="ana", group="blue"), False),
        (InboxQuery(user_id="ana", priority=Priority.HIGH), True),
        (InboxQuery(user_id="ana", priority=Priority.NORMAL), False),
        (InboxQuery(user_id="ana", since=DAWN), True),
        (InboxQuery(user_id="ana", since=DAWN + timedelta(microseconds=1)), False),
        (InboxQuery(user_id="ana", after=Positions(9, 4, 9)), True),
        (InboxQuery(user_id="ana", after=Positions(0, 5, 0)), False),
        (InboxQuery(user_id="ana", after=Positions.level(6), descending=True), True),
        (InboxQuery(user_id="ana", after=Positions(0, 0, 6), descending=True), True),
        (InboxQuery(user_id="ana", after=Positions.level(5), descending=True), False),
    ],
)
def test_query_clauses(query: InboxQuery, admitted: bool) -> None:
    assert query.admits(ENTRY) is admitted


def test_a_group_query_does_not_take_a_user_of_that_name() -> None:
    entry = InboxEntry(message=message(Receiver.user("red")), status=Status.SENT)
    assert not InboxQuery(user_id="red", group="red").admits(entry)


def test_page_limits() -> None:
    assert InboxQuery(user_id="ana").limit == DEFAULT_PAGE
    assert [InboxQuery(user_id="ana", limit=limit).limit for limit in (1, MAX_PAGE)] == [1, MAX_PAGE]
    for limit in (0, -1, MAX_PAGE + 1):
        with pytest.raises(InvalidInput) as refused:
            InboxQuery(user_id="ana", limit=limit)
        assert refused.value.code == "invalid_limit"


def test_unread_counts_by_each_key() -> None:
    counts = count_unread(
        [
            message(Receiver.group("red"), priority=Priority.HIGH, ttl=9),
            message(Receiver.group("red"), event_type="b", ttl=3),
            message(Receiver.user("red"), event_type="b"),
            message(BROADCAST, priority=Priority.URGENT, ttl=5),
        ]
    )
    assert counts == UnreadCounts(
        total=4,
        by_priority={Priority.NORMAL: 2, Priority.HIGH: 1, Priority.URGENT: 1},
        by_group={"red": 2},
        by_event_type={"a": 2, "b": 2},
    )
    assert counts.next_expiry == DAWN + timedelta(seconds=3)
    assert counts.payload("ana") == {
        "user_id": "ana",
        "total": 4,
        "by_priority": {"normal": 2, "high": 1, "urgent": 1},
        "by_group": {"red": 2},
        "by_event_type": {"a": 2, "b": 2},
    }


def test_nothing_unread() -> None:
    counts = count_unread([])
    assert counts == UnreadCounts()
    assert counts.next_expiry is None
    assert counts.payload(None)["by_priority"] == {"normal": 0, "high": 0, "urgent": 0}
