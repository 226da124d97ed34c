"""One rule of delivery each, in the smallest setting that shows it; test_delivery_machine.py has all the rest."""

from __future__ import annotations

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from sse_domain.bounds import Caps
from sse_domain.cursor import Positions
from sse_domain.delivery import Delivery, Given, State, run_at_once
from sse_domain.message import BROADCAST, Message, Priority, Receiver
from sse_domain.replay import ReadRequest
from sse_domain.subscription import Audience
from tests.unit.domain.model import Identity
from tests.unit.domain.profile import PROPERTY
from tests.unit.domain.store import Store, draft
from tests.unit.domain.world import Reader, World

NORMAL, HIGH, URGENT = Priority
ROOMY = Caps(waiting_messages=100, waiting_bytes=10_000, page_messages=3, page_bytes=40)


class Stream:
    """One delivery with a store behind it, seen from the feed's side."""

    def __init__(self, start: Positions | None = None, history: tuple[Priority, ...] = (), caps: Caps = ROOMY) -> None:
        self.store = Store()
        for priority in history:
            self.store.accept(draft(BROADCAST, priority=priority))
        memberships = self.store.subscriptions.setdefault("ana", {})
        self.audience = Audience(client_id=None, user_id="ana", subscriptions=memberships)
        self.delivery = Delivery(self.audience, start or Positions.level(self.head), self.head, caps)

    @property
    def head(self) -> int:
        return len(self.store.log)

    def offer(self, *priorities: Priority, persist: bool = True, ttl: int | None = None) -> list[Message]:
        sent = [self.store.accept(draft(BROADCAST, priority=p, persist=persist, ttl=ttl)) for p in priorities]
        for message in sent:
            self.delivery.offer(message)
        return sent

    def pull(self, limit: int = 100, max_bytes: int = 10_000) -> list[Given]:
        return self.delivery.pull(self.store.now, self.head, limit=limit, max_bytes=max_bytes)

    def pulled(self, limit: int = 100) -> list[int | None]:
        return [given.message.seq for given in self.pull(limit)]

    def ask(self) -> ReadRequest:
        request = self.delivery.read_request(self.head)
        assert request is not None
        return request

    def answer(self, request: ReadRequest) -> None:
        self.delivery.page(self.store.replay(self.audience, request))


def test_a_stream_at_the_head_is_level_and_costs_nothing() -> None:
    stream = Stream(history=(NORMAL, NORMAL))
    assert stream.delivery.level
    assert stream.delivery.state is State.LIVE
    assert stream.delivery.positions(stream.head) == Positions.level(2)
    assert stream.delivery.read_request(stream.head) is None
    assert stream.pull() == []


def test_a_start_beyond_the_head_is_a_bug_of_the_caller() -> None:
    with pytest.raises(AssertionError):
        Stream(start=Positions(0, 0, 1))


def test_urgent_overtakes_high_overtakes_normal_and_the_cursors_say_so() -> None:
    stream = Stream()
    stream.offer(NORMAL, HIGH, URGENT, NORMAL)
    assert stream.delivery.positions(4) == Positions(0, 1, 2)
    given = stream.pull()
    assert [item.message.seq for item in given] == [3, 2, 1, 4]
    assert [item.positions for item in given] == [Positions(0, 1, 3), Positions(0, 2, 3), Positions(1, 2, 3), None]
    assert stream.delivery.level
    assert stream.delivery.given == [4, 2, 3]


def test_messages_that_overtake_nothing_carry_the_short_cursor() -> None:
    stream = Stream()
    stream.offer(NORMAL, NORMAL, NORMAL)
    assert [given.positions for given in stream.pull()] == [None, None, None]


def test_a_pull_keeps_to_its_limits() -> None:
    stream = Stream()
    stream.offer(*[NORMAL] * 5)
    assert stream.pulled(limit=2) == [1, 2]
    assert len(stream.pull(max_bytes=1)) == 1
    assert not stream.delivery.level
    assert stream.pulled() == [4, 5]


def test_what_is_written_at_once_counts_as_given() -> None:
    stream = Stream()
    message = stream.store.accept(draft(BROADCAST, priority=HIGH))
    stream.delivery.gave(message)
    stream.delivery.gave(stream.store.accept(draft(BROADCAST, persist=False)))
    assert stream.delivery.given == [0, 1, 0]
    stream.offer(NORMAL)
    assert stream.delivery.positions(stream.head) == Positions(1, 2, 2)


def test_an_expired_message_is_passed_over_from_the_very_instant() -> None:
    stream = Stream()
    stream.offer(NORMAL, ttl=1)
    stream.offer(NORMAL)
    stream.store.pass_time(1)
    assert stream.pulled() == [2]
    assert stream.delivery.given == [2, 0, 0]


def test_leaving_revokes_what_waits() -> None:
    stream = Stream()
    stream.store.join("ana", "red", None)
    stream.delivery.offer(stream.store.accept(draft(Receiver.group("red"))))
    stream.delivery.offer(stream.store.accept(draft(Receiver.group("red"), persist=False)))
    stream.offer(NORMAL)
    stream.store.leave("ana", "red")
    assert stream.pulled() == [2]


def test_a_replay_gives_urgent_first_page_by_page_and_ends_level() -> None:
    stream = Stream(Positions.level(0), (NORMAL, HIGH, NORMAL, URGENT, NORMAL))
    assert stream.delivery.state is State.REPLAYING
    assert stream.delivery.positions(stream.head) == Positions.level(0)
    assert stream.pull() == []
    first = stream.ask()
    assert first == ReadRequest(after=(0, 0, 0), through=5, limit=3, max_bytes=40)
    stream.answer(first)
    assert [(given.message.seq, given.positions) for given in stream.pull()] == [
        (4, Positions(0, 1, 4)),
        (2, Positions(0, 2, 4)),
        (1, Positions(1, 2, 4)),
    ]
    second = stream.ask()
    assert second.after == (1, None, None)
    stream.answer(second)
    assert stream.pulled() == [3, 5]
    assert stream.delivery.level


def test_no_more_than_one_read_runs_and_a_failed_one_is_asked_for_again() -> None:
    stream = Stream(Positions.level(0), (NORMAL,))
    request = stream.ask()
    assert stream.delivery.read_request(stream.head) is None
    stream.delivery.read_failed()
    assert stream.ask() == request
    stream.answer(request)
    stream.answer(request)  # a late answer to nothing
    assert stream.pulled() == [1]


def test_a_read_goes_up_to_where_the_tail_begins_and_the_tail_follows_in_order() -> None:
    stream = Stream(Positions.level(0), (NORMAL,) * 4)
    request = stream.ask()
    stream.offer(NORMAL)
    (ephemeral,) = stream.offer(NORMAL, persist=False)
    stream.offer(NORMAL)
    stream.answer(request)
    assert stream.pulled() == [1, 2, 3]
    request = stream.ask()
    assert (request.after, request.through) == ((3, None, None), 4)
    stream.offer(NORMAL)
    stream.answer(request)
    given = stream.pull()
    assert [item.message.seq for item in given] == [4, 5, None, 6, 7]
    assert given[2] == Given(ephemeral, None)
    assert stream.delivery.dropped == 0


def test_urgent_overtakes_during_a_long_replay() -> None:
    stream = Stream(Positions.level(0), (NORMAL,) * 9)
    stream.answer(stream.ask())
    assert stream.pulled(limit=1) == [1]
    stream.offer(URGENT)
    assert stream.pulled() == [10, 2, 3]


def test_nothing_lower_is_given_while_a_higher_lane_must_read() -> None:
    stream = Stream(Positions(1, 0, 1), (HIGH,))
    stream.offer(NORMAL)
    assert stream.pull() == []
    stream.offer(URGENT)
    assert stream.pulled() == [3]
    stream.answer(stream.ask())
    assert stream.pulled() == [1, 2]


def test_past_the_caps_everything_is_dropped_and_read_again() -> None:
    stream = Stream(caps=Caps(waiting_messages=3, waiting_bytes=1000, page_messages=9, page_bytes=1000))
    stream.offer(NORMAL, URGENT)
    stream.offer(NORMAL, persist=False)
    assert stream.delivery.state is State.LIVE
    stream.offer(NORMAL)
    assert (stream.delivery.state, stream.delivery.dropped) == (State.LAGGING, 1)
    assert stream.delivery.positions(stream.head) == Positions(0, 3, 1)
    stream.offer(NORMAL)
    stream.offer(NORMAL, persist=False)
    assert stream.delivery.dropped == 2
    stream.answer(stream.ask())
    assert stream.pulled() == [2, 1, 3, 4]
    assert stream.delivery.level


@pytest.mark.parametrize(("messages", "state"), [(2, State.LIVE), (3, State.LAGGING)])
def test_past_the_byte_cap_just_as_well(messages: int, state: State) -> None:
    stream = Stream(caps=Caps(waiting_messages=100, waiting_bytes=2, page_messages=9, page_bytes=1000))
    stream.offer(*[NORMAL] * messages)
    assert stream.delivery.state is state


def test_a_closed_stream_gives_and_takes_nothing() -> None:
    stream = Stream(Positions.level(0), (NORMAL,))
    request = stream.ask()
    stream.delivery.close()
    stream.answer(request)
    stream.offer(NORMAL)
    assert stream.pull() == []
    assert stream.delivery.read_request(stream.head) is None
    assert (stream.delivery.level, stream.delivery.state) == (False, State.CLOSED)
    with pytest.raises(AssertionError):
        stream.delivery.positions(stream.head)


def one_more_in_each_read(world: World, reader: Reader, priority: Priority, reads: int) -> None:
    """A reader that keeps up, under a load that never pauses: something is published while each read runs."""
    for _ in range(reads):
        world.ask(reader)
        world.publish(draft(BROADCAST, priority=priority))
        world.answer(reader)
        while world.pull(reader, limit=4):
            pass


def test_what_waits_low_does_not_keep_a_higher_lane_from_becoming_level() -> None:
    world = World()
    world.publish(draft(BROADCAST, priority=HIGH))
    reader = world.open(Identity("phone"), behind=(0, 1, 0))
    for _ in range(world.caps.waiting_messages):
        world.publish(draft(BROADCAST))
    one_more_in_each_read(world, reader, HIGH, reads=20)
    assert sum(message.priority is NORMAL for message in reader.witness.given) == world.caps.waiting_messages


@pytest.mark.parametrize("priority", Priority)
def test_a_replay_ends_although_messages_keep_coming(priority: Priority) -> None:
    world = World()
    for _ in range(30):
        world.publish(draft(BROADCAST, priority=priority))
    reader = world.open(Identity("phone"), behind=(30, 30, 30))
    one_more_in_each_read(world, reader, priority, reads=40)
    assert len(reader.witness.given) == 70
    assert reader.delivery is not None
    assert reader.delivery.state is State.LIVE


PUBLISHED = st.tuples(st.sampled_from(Priority), st.booleans(), st.booleans())


@PROPERTY
@examples(before=st.lists(PUBLISHED, max_size=4), run=st.lists(PUBLISHED, min_size=1, max_size=12))
def test_a_run_at_once_is_what_a_level_stream_would_be_given_one_by_one(
    before: list[tuple[Priority, bool, bool]], run: list[tuple[Priority, bool, bool]]
) -> None:
    store = Store()
    audience = Audience(client_id=None, user_id="ana", subscriptions={})
    delivery = Delivery(audience, Positions.level(0), 0, ROOMY)

    def publish(kinds: list[tuple[Priority, bool, bool]]) -> list[Message]:
        receivers = {True: Receiver.user("ana"), False: Receiver.user("ben")}
        sent = [store.accept(draft(receivers[mine], priority=p, persist=persist)) for p, persist, mine in kinds]
        return [message for message in sent if audience.admits(message)]

    for message in publish(before):
        delivery.gave(message)
    admitted = publish(run)
    for message in admitted:
        delivery.offer(message)
    head = len(store.log)
    assert run_at_once(admitted, head) == delivery.pull(store.now, head, limit=100, max_bytes=10_000)
    assert delivery.level
