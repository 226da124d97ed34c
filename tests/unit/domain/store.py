"""A store of plain lists: it keeps what the ports promise, and the inbox rules are checked against it.

Time is `now`, which only tests move.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sse_domain.cursor import Positions
from sse_domain.delivery import HIGHEST_FIRST
from sse_domain.inbox import Status, count_unread, status_of, visible
from sse_domain.message import Draft, Message, Priority, Receiver, accept
from sse_domain.replay import ReadRequest, ReplayPage
from sse_domain.subscription import Audience, Subscription
from tests.unit.domain.model import Membership, Memberships, is_expired, is_visible

DAWN = datetime(2030, 1, 1, tzinfo=UTC)


def draft(
    receiver: Receiver,
    *,
    priority: Priority = Priority.NORMAL,
    persist: bool = True,
    ttl: int | None = None,
    event_type: str = "a",
    data: bytes = b"1",
) -> Draft:
    return Draft(receiver=receiver, event_type=event_type, data=data, persist=persist, priority=priority, ttl=ttl)


class Store:
    """Memberships are kept twice: as the product's values, and as the model's own."""

    def __init__(self) -> None:
        self.now = DAWN
        self.log: list[Message] = []  # seq is index + 1
        self.purged_through = 0
        self.sent = 0
        self.read: dict[str, set[int]] = {}
        self.subscriptions: dict[str, dict[str, Subscription]] = {}
        self.memberships: Memberships = {}

    def accept(self, draft: Draft) -> Message:
        """Commit a message, or let an ephemeral one pass."""
        self.sent += 1
        seq = len(self.log) + 1 if draft.persist else None
        message = accept(draft, event_id=f"e{self.sent}", seq=seq, now=self.now)
        if seq is not None:
            self.log.append(message)
        return message

    def replay(self, audience: Audience, request: ReadRequest) -> ReplayPage:
        """What MessageLog.replay promises."""
        found: list[Message] = []
        for priority in HIGHEST_FIRST:
            after = request.after[priority]
            for message in self.log[self.purged_through : request.through]:
                if after is None or message.priority is not priority or (message.seq or 0) <= after:
                    continue
                if message.seq in self.read.get(audience.user_id or "", ()) or is_expired(message, self.now):
                    continue
                if not audience.admits(message):
                    continue
                size = sum(len(taken.data) for taken in (*found, message))
                if len(found) == request.limit or (found and size > request.max_bytes):
                    return ReplayPage(tuple(found), complete=False)
                found.append(message)
        return ReplayPage(tuple(found), complete=True)

    def pass_time(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    def join(self, user_id: str, group: str, event_types: tuple[str, ...] | None) -> None:
        """Subscribe, or change the types of a standing subscription; it begins at the log's end."""
        memberships = self.memberships.setdefault(user_id, {})
        standing = memberships.get(group)
        joined_at = len(self.log) if standing is None else standing.joined_at
        memberships[group] = Membership(joined_at, event_types)
        subscription = Subscription(user_id=user_id, group=group, event_types=event_types, joined_after=joined_at)
        self.subscriptions.setdefault(user_id, {})[group] = subscription

    def leave(self, user_id: str, group: str) -> None:
        self.memberships.setdefault(user_id, {}).pop(group, None)
        self.subscriptions.setdefault(user_id, {}).pop(group, None)

    def mark_read(self, user_id: str, seqs: Sequence[int]) -> None:
        """Ids that are not visible to the user are ignored."""
        kept = self.log[self.purged_through :]
        seen = {m.seq for m in kept if m.seq is not None and is_visible(m, user_id, self.memberships, self.now)}
        self.read.setdefault(user_id, set()).update(seen.intersection(seqs))

    def check_inboxes(self) -> None:
        """SPEC §4 by brute force: what each user sees, and its unread counts."""
        for user_id, subscriptions in self.subscriptions.items():
            read = self.read.get(user_id, set())
            unread: list[Message] = []
            for message in self.log[self.purged_through :]:
                sees = is_visible(message, user_id, self.memberships, self.now)
                assert visible(message, user_id, subscriptions, self.now) is sees
                if sees and message.seq not in read:
                    unread.append(message)
            counts = count_unread(unread)
            assert counts.total == len(unread)
            for priority in Priority:
                counted = sum(message.priority == priority for message in unread)
                assert counts.by_priority.get(priority, 0) == counted
            for message in unread:
                assert message.seq is not None
                before = Positions.level(message.seq - 1)
                assert status_of(message, read=False, delivered=before) is Status.PENDING
                assert status_of(message, read=False, delivered=Positions.level(message.seq)) is Status.SENT
                assert status_of(message, read=True, delivered=before) is Status.READ
