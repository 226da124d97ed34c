"""The inbox contract of SPEC §4, written a second time as plainly as can be, to compare stores with.

Lists and loops: every answer looks at every message that was ever sent. It uses none of the domain's rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass
class Sent:
    """A message. `kind` is user, client, group or broadcast; `name` is empty for a broadcast."""

    seq: int
    kind: str
    name: str
    event_type: str
    priority: int
    created_at: datetime
    expire_at: datetime | None
    kept: bool = True


@dataclass
class Membership:
    user: str
    group: str
    event_types: list[str] | None
    joined_after: int


class NaiveInbox:
    """Everything that happened, and what each user sees of it."""

    def __init__(self) -> None:
        self.log: list[Sent] = []
        self.memberships: list[Membership] = []
        self.read: list[tuple[str, int]] = []
        self.given: list[tuple[str, int, int]] = []  # user, priority, up to this seq

    # What happens

    def send(self, kind: str, name: str, event_type: str, priority: int, now: datetime, ttl: int | None) -> None:
        expire_at = None if ttl is None else now + timedelta(seconds=ttl)
        self.log.append(Sent(len(self.log) + 1, kind, name, event_type, priority, now, expire_at))

    def join(self, user: str, group: str, event_types: list[str] | None) -> bool:
        for membership in self.memberships:
            if membership.user == user and membership.group == group:
                membership.event_types = event_types
                return False
        self.memberships.append(Membership(user, group, event_types, len(self.log)))
        return True

    def leave(self, user: str, group: str) -> bool:
        before = len(self.memberships)
        self.memberships = [each for each in self.memberships if (each.user, each.group) != (user, group)]
        return len(self.memberships) < before

    def mark(self, user: str, seqs: list[int], now: datetime) -> int:
        new = [sent for sent in self.unread(user, now) if sent.seq in seqs]
        self.read += [(user, sent.seq) for sent in new]
        return len(new)

    def mark_up_to(self, user: str, positions: list[int], now: datetime) -> int:
        seqs = [sent.seq for sent in self.log if sent.seq <= positions[sent.priority]]
        return self.mark(user, seqs, now)

    def give(self, user: str, positions: list[int]) -> None:
        self.given += [(user, priority, seq) for priority, seq in enumerate(positions)]

    def remove_expired(self, now: datetime) -> int:
        expired = [sent for sent in self.log if sent.kept and self._expired(sent, now)]
        for sent in expired:
            sent.kept = False
        return len(expired)

    def remove_older(self, than: datetime, limit: int) -> int:
        older = [sent for sent in self.log if sent.kept and sent.created_at < than]
        for sent in older[:limit]:
            sent.kept = False
        return min(len(older), limit)

    # What users see

    def visible(self, user: str, now: datetime) -> list[Sent]:
        return [
            sent
            for sent in self.log
            if sent.kept
            and not self._expired(sent, now)
            and (
                sent.kind == "broadcast"
                or (sent.kind == "user" and sent.name == user)
                or (sent.kind == "group" and self._member(user, sent))
            )
        ]

    def unread(self, user: str, now: datetime) -> list[Sent]:
        return [sent for sent in self.visible(user, now) if (user, sent.seq) not in self.read]

    def pending(self, user: str, now: datetime) -> list[Sent]:
        return [sent for sent in self.unread(user, now) if not self._given(user, sent)]

    def with_status(self, user: str, status: str | None, now: datetime) -> list[Sent]:
        visible, unread, pending = (of(user, now) for of in (self.visible, self.unread, self.pending))
        if status == "read":
            return [sent for sent in visible if sent not in unread]
        if status == "sent":
            return [sent for sent in unread if sent not in pending]
        return {None: visible, "unread": unread, "pending": pending}[status]

    def oldest_unread(self, user: str, now: datetime) -> tuple[int | None, ...]:
        unread = self.unread(user, now)
        return tuple(
            min((sent.seq for sent in unread if sent.priority == priority), default=None) for priority in range(3)
        )

    def _member(self, user: str, sent: Sent) -> bool:
        for membership in self.memberships:
            if membership.user == user and membership.group == sent.name:
                wanted = membership.event_types is None or sent.event_type in membership.event_types
                return wanted and sent.seq > membership.joined_after
        return False

    def _given(self, user: str, sent: Sent) -> bool:
        return any(
            whom == user and priority == sent.priority and sent.seq <= up_to for whom, priority, up_to in self.given
        )

    @staticmethod
    def _expired(sent: Sent, now: datetime) -> bool:
        return sent.expire_at is not None and now >= sent.expire_at
