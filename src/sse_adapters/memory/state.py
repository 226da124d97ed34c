"""What the memory adapters share: everything the store knows, and the indexes that keep reading it cheap.

No method awaits, so on one event loop each is atomic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from heapq import heapify, heappop, heappush, merge
from itertools import count, takewhile
from typing import NamedTuple

from sse_adapters.memory.seqs import RisingSeqs
from sse_domain.inbox import Delivered
from sse_domain.message import BROADCAST, Message, Priority, Receiver, ReceiverType
from sse_domain.subscription import Membership, Subscription


class Marking(NamedTuple):
    """That a user marked something as read. No two have the same number."""

    number: int
    made_at: datetime


class MemoryState:
    """The log named `epoch`, its kept messages, who has read them, and who is subscribed to what.

    `delivered` is what each user and client was given, `markings` has each user's last one. `memberships` counts the
    changes of subscriptions, `removals` how often retention has removed anything for its age.
    """

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.seq = 0
        self.purged_through = 0
        self.memberships = 0
        self.removals = 0
        self.messages: dict[int, Message] = {}
        self.by_event_id: dict[str, Message] = {}
        self.delivered: dict[Receiver, Delivered] = {}
        self.markings: dict[str, Marking] = {}
        self.seqs = RisingSeqs(self.messages)
        self._lanes: dict[tuple[Receiver, Priority], RisingSeqs] = {}
        self._readers: dict[str, set[str]] = {}  # who has read it, by event_id
        self._marking_numbers = count(1)
        self._expiries: list[tuple[datetime, int]] = []  # a heap; may name messages that are gone
        self._by_user: dict[str, dict[str, Subscription]] = {}
        self._by_group: dict[str, dict[str, Subscription]] = {}
        # Each membership's last change, the latest at the end. Also of those that were left: others must learn of it.
        self._changes: dict[tuple[str, str], Membership] = {}

    def add(self, message: Message) -> None:
        """Keep the next message of the log."""
        assert message.seq == self.seq + 1
        self.seq = seq = message.seq
        self.messages[seq] = self.by_event_id[message.event_id] = message
        lane = message.receiver, message.priority
        if lane not in self._lanes:
            self._lanes[lane] = RisingSeqs(self.messages)
        self._lanes[lane].append(seq)
        self.seqs.append(seq)
        if message.expire_at is not None:
            heappush(self._expiries, (message.expire_at, seq))

    def remove(self, seq: int) -> None:
        """Forget a kept message and everything known about it."""
        message = self.messages.pop(seq)
        del self.by_event_id[message.event_id]
        self._readers.pop(message.event_id, None)
        self.seqs.removed_one()
        lane = message.receiver, message.priority
        self._lanes[lane].removed_one()
        if not self._lanes[lane]:
            del self._lanes[lane]
        if len(self._expiries) > 2 * len(self.messages):  # most are of messages that went before their time
            self._expiries = [(kept.expire_at, seq) for seq, kept in self.messages.items() if kept.expire_at]
            heapify(self._expiries)

    def take_expired(self, now: datetime) -> Iterator[int]:
        """The seqs of kept messages expired at `now`, the longest expired first. Told once: remove them."""
        while self._expiries and self._expiries[0][0] <= now:
            seq = heappop(self._expiries)[1]
            if seq in self.messages:
                yield seq

    def rising(self, receivers: Iterable[Receiver], after: Mapping[Priority, int], through: int) -> Iterator[Message]:
        """Kept messages to `receivers`, by seq, up to and including `through`.

        Only of the priorities in `after`, each beyond its position there.
        """
        lanes = self._lanes_of(receivers, after)
        seqs = merge(*(lane.rising(after[priority], through) for priority, lane in lanes))
        return map(self.messages.__getitem__, seqs)

    def falling(self, receivers: Iterable[Receiver], priorities: Iterable[Priority], below: int) -> Iterator[Message]:
        """Kept messages to `receivers` with a seq less than `below`, the newest first."""
        lanes = self._lanes_of(receivers, priorities)
        seqs = merge(*(lane.falling(below) for _, lane in lanes), reverse=True)
        return map(self.messages.__getitem__, seqs)

    def _lanes_of(
        self, receivers: Iterable[Receiver], priorities: Iterable[Priority]
    ) -> list[tuple[Priority, RisingSeqs]]:
        lanes = ((receiver, priority) for receiver in receivers for priority in priorities)
        return [(lane[1], self._lanes[lane]) for lane in lanes if lane in self._lanes]

    def has_read(self, user_id: str | None, message: Message) -> bool:
        return user_id in self._readers.get(message.event_id, ())

    def mark_read(self, user_id: str, message: Message, now: datetime) -> bool:
        """Mark a kept message as read by the user; whether it was not before."""
        readers = self._readers.setdefault(message.event_id, set())
        new = user_id not in readers
        if new:
            readers.add(user_id)
            self.markings[user_id] = Marking(next(self._marking_numbers), now)
        return new

    def put_subscription(self, subscription: Subscription) -> None:
        self._by_user.setdefault(subscription.user_id, {})[subscription.group] = subscription
        self._by_group.setdefault(subscription.group, {})[subscription.user_id] = subscription
        self._changed(subscription.user_id, subscription.group, subscription)

    def drop_subscription(self, subscription: Subscription) -> None:
        for index, key, inner in (
            (self._by_user, subscription.user_id, subscription.group),
            (self._by_group, subscription.group, subscription.user_id),
        ):
            del index[key][inner]
            if not index[key]:
                del index[key]
        self._changed(subscription.user_id, subscription.group, None)

    def _changed(self, user_id: str, group: str, subscription: Subscription | None) -> None:
        self.memberships += 1
        self._changes.pop((user_id, group), None)
        self._changes[user_id, group] = Membership(user_id, group, subscription, self.memberships)

    def version_of(self, subscription: Subscription) -> int:
        return self._changes[subscription.user_id, subscription.group].version

    def changed_since(self, version: int) -> list[Membership]:
        """What changed after `version`, by its version."""
        return list(takewhile(lambda change: change.version > version, reversed(self._changes.values())))[::-1]

    def subscriptions_of(self, user_id: str) -> Mapping[str, Subscription]:
        """By group."""
        return self._by_user.get(user_id, {})

    def subscribers_of(self, group: str) -> Mapping[str, Subscription]:
        """By user."""
        return self._by_group.get(group, {})

    def receivers_for(self, user_id: str) -> list[Receiver]:
        """Every receiver whose messages the user may see."""
        groups = (Receiver(ReceiverType.GROUP, group) for group in self.subscriptions_of(user_id))
        return [BROADCAST, Receiver(ReceiverType.USER, user_id), *groups]
