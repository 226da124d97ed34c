"""The naive model of SPEC §3–§4: what a reader is owed and what it was given, by lists and loops.

It shares no rule with the product. A message is taken as what it says (receiver, priority, seq, times); who may see it,
when it is expired and what is still owed is decided here again, from the specification's words.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from sse_domain.message import Message, ReceiverType


@dataclass
class Membership:
    """A standing subscription: the log's last seq at the join, and the types (None: every type)."""

    joined_at: int
    event_types: tuple[str, ...] | None


Memberships = dict[str, dict[str, Membership]]
"""By user, then by group."""


@dataclass(frozen=True)
class Identity:
    """Who a reader is and what its URL asks for; the same on each of its connections."""

    client_id: str
    user_id: str | None = None
    url_groups: frozenset[str] = frozenset()
    event_types: frozenset[str] | None = None


def is_expired(message: Message, now: datetime) -> bool:
    return message.expire_at is not None and now >= message.expire_at


def is_member(message: Message, membership: Membership | None) -> bool:
    if membership is None:
        return False
    if message.seq is not None and message.seq <= membership.joined_at:
        return False
    return membership.event_types is None or message.event_type in membership.event_types


def is_visible(message: Message, user_id: str, memberships: Memberships, now: datetime) -> bool:
    """SPEC §4: for user u; or for a group u is subscribed to, after the join, of a subscribed type; or broadcast."""
    if is_expired(message, now):
        return False
    if message.receiver.type == ReceiverType.USER:
        return message.receiver.id == user_id
    if message.receiver.type == ReceiverType.GROUP:
        return is_member(message, memberships.get(user_id, {}).get(str(message.receiver.id)))
    return message.receiver.type == ReceiverType.BROADCAST


@dataclass
class Witness:
    """Watches one reader over all its connections, and objects to whatever breaks the delivery contract.

    `start` and `groups_from` are where its first connection began. `excused` holds the event ids that it need no longer
    be given: read, expired, purged, or not its own for a while.
    """

    identity: Identity
    start: tuple[int, int, int]
    groups_from: int
    order: dict[str, int]  # of every message, by event id: when this node applied it
    resumed: bool = False
    given_before: set[str] = field(default_factory=set)  # up to the presented cursor
    given: list[Message] = field(default_factory=list)  # on this connection
    excused: set[str] = field(default_factory=set)
    passed_by: list[Message] = field(default_factory=list)  # ephemeral messages of its audience, this connection
    purged: list[Message] = field(default_factory=list)  # not kept any more, and needed by who comes back from before

    def is_audience(self, message: Message, memberships: Memberships, *, url_groups_from: int) -> bool:
        """SPEC §3.6: its user's, its client's, its groups' and broadcast messages; of the types it asked for."""
        who, to = self.identity, message.receiver
        if who.event_types is not None and message.event_type not in who.event_types:
            return False
        if to.type == ReceiverType.BROADCAST:
            return True
        if to.type == ReceiverType.USER:
            return who.user_id is not None and to.id == who.user_id
        if to.type == ReceiverType.CLIENT:
            return to.id == who.client_id
        if to.id in who.url_groups and (message.seq is None or message.seq > url_groups_from):
            return True
        return is_member(message, memberships.get(who.user_id or "", {}).get(str(to.id)))

    def owes(self, message: Message, memberships: Memberships, now: datetime) -> bool:
        """Whether a persisted message must still be given to this reader."""
        return (
            message.seq is not None
            and message.seq > self.start[message.priority]
            and message.event_id not in self.given_before
            and message.event_id not in self.excused
            and message not in self.given
            and not is_expired(message, now)
            and self.is_audience(message, memberships, url_groups_from=self.groups_from)
        )

    def allows(self, message: Message, memberships: Memberships) -> bool:
        """Whether a message may be given at all. A URL's groups reach back to the cursor on resume (SPEC §2)."""
        if message.seq is None:
            return message in self.passed_by and self.is_audience(message, memberships, url_groups_from=0)
        url_groups_from = 0 if self.resumed else self.groups_from
        return message.seq > self.start[message.priority] and self.is_audience(
            message, memberships, url_groups_from=url_groups_from
        )

    def take(self, message: Message, applied: list[Message], memberships: Memberships, now: datetime) -> None:
        """The reader is given `message`: check everything that a single gift can break."""
        assert not is_expired(message, now), "§3.7: an expired message was written"
        assert self.allows(message, memberships), "§3.6: not of its audience"
        assert message not in self.given, "§3.4: a duplicate within a connection"
        assert message.event_id not in self.given_before, "§3.4: what came before the cursor came again"
        for other in self.given:
            if other.priority == message.priority:
                assert self.order[other.event_id] < self.order[message.event_id], "§3.2: order within a priority"
        for other in applied:
            if other.priority > message.priority:
                assert not self.owes(other, memberships, now), "§3.2: a higher priority was waiting"
        self.given.append(message)

    def excuse_if_not_audience(self, messages: list[Message], memberships: Memberships) -> None:
        """After the commit or the membership change: what is not this reader's now is not owed later either."""
        for message in messages:
            if not self.is_audience(message, memberships, url_groups_from=self.groups_from):
                self.excused.add(message.event_id)

    def check_drained(self, applied: list[Message], memberships: Memberships, now: datetime, dropped: int) -> None:
        """With nothing left to pull or read: committed means delivered, and ephemeral messages add up (§3.1, §3.9)."""
        for message in applied:
            assert not self.owes(message, memberships, now), "§3.1: committed but not delivered"
        missed = [message for message in self.passed_by if message not in self.given]
        unexplained = [m for m in missed if not is_expired(m, now) and m.event_id not in self.excused]
        assert len(unexplained) <= dropped, "§3.9: an ephemeral message was dropped and not counted"
        assert dropped <= len(missed), "§3.9: an ephemeral message was counted as dropped and given"

    def after_cut(self, persisted_given: int) -> Witness:
        """The witness of the next connection, when the reader has the id of a frame by which it had been given so many
        persisted messages."""
        kept = [message for message in self.given if message.seq is not None][:persisted_given]
        given_before = self.given_before | {message.event_id for message in kept}
        return replace(
            self,
            resumed=True,
            given_before=given_before,
            given=[],
            excused=set(self.excused),
            passed_by=[],
            purged=list(self.purged),
        )
