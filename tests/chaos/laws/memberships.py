"""Who surely was, and who may have been, a member of a group when a message was committed, and when it was delivered.

A membership lasts from a join to the next leave. What came in it is the member's as long as it lasts; leaving revokes
the rest, and joining again begins anew (SPEC §3.6). Each change takes effect at one place of the log, which is known
to lie between two seqs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from tests.chaos.laws.evidence import CLOCK_SECONDS, Evidence, Message, settled_at
from tests.chaos.record import FOREVER, MembershipChange, Send


@dataclass(slots=True, eq=False)
class Change:
    """It came after every seq up to `after_seq`, and before every one from `before_seq` on; if it is not `sure`, it may
    not have come at all."""

    joins: bool
    event_types: list[str] | None
    begins: float
    settled: float
    sure: bool
    after_seq: int
    before_seq: int

    def admits(self, event_type: str) -> bool:
        return self.event_types is None or event_type in self.event_types


class Membership:
    """What is between one user and one group, over the whole run."""

    def __init__(self, evidence: Evidence, changes: Sequence[MembershipChange]) -> None:
        self._evidence = evidence
        self._must_until: dict[int, float] = {}
        self._may_until: dict[tuple[int, str | None], float] = {}
        self.changes = [
            Change(
                joins=change.joins,
                event_types=change.event_types,
                begins=change.at,
                settled=settled_at(change),
                sure=change.accepted is not None,
                after_seq=evidence.seq_by(change.at),
                before_seq=evidence.seq_from(settled_at(change)),
            )
            for change in sorted(changes, key=lambda change: change.at)
        ]

    def must_admit(self, message: Message, at: float) -> bool:
        """Whether it surely came in a membership that surely lasts at that time."""
        if message.seq not in self._must_until:
            self._must_until[message.seq] = max(map(self._must_until_in(message), self.changes), default=-FOREVER)
        return at < self._must_until[message.seq]

    def _must_until_in(self, message: Message) -> Callable[[Change], float]:
        """Until when it is owed as one that came after a join."""
        event_type = message.send.event_type

        def until(join: Change) -> float:
            if not (join.joins and join.sure and message.seq >= join.before_seq and join.admits(event_type)):
                return -FOREVER
            # Of what was asked for before the join, only that which may come late can undo it.
            place = self.changes.index(join)
            counting = (c for i, c in enumerate(self.changes) if i >= place or c.settled > join.begins)
            undoing = (c.begins for c in counting if not (c.joins and c.admits(event_type)))
            return min(undoing, default=FOREVER)

        return until

    def may_admit(self, message: Message, written_after: float, node: str | None) -> bool:
        """Whether a node may give it, which does so later than that. None: it is asked of the database, which knows of
        every change at once."""
        known = (message.seq, node)
        if known not in self._may_until:
            self._may_until[known] = self._find_may_until(message.send, message, node)
        return written_after <= self._may_until[known]

    def may_admit_passing(self, send: Send, written_after: float, node: str) -> bool:
        """The same for an ephemeral message."""
        return written_after <= self._find_may_until(send, None, node)

    def _find_may_until(self, send: Send, message: Message | None, node: str | None) -> float:
        def counts_from(change: Change) -> float:
            """From when on it surely counts, for what was sent before it as well."""
            if not change.sure:
                return FOREVER
            if message is not None and message.seq >= change.before_seq:
                return -FOREVER
            if node is None:
                return change.settled + CLOCK_SECONDS
            known_at = self._evidence.learnt_by(node, change.settled)
            return -FOREVER if message is None and known_at < send.at else known_at

        def came_after(change: Change) -> bool:
            """Whether the message was surely over and done with when it was asked for."""
            if message is not None:
                return message.seq <= change.after_seq
            return self._evidence.learnt_by(node, send.answered_at, over_the_bus=True) < change.begins

        until = -FOREVER
        for place, join in enumerate(self.changes):
            if not join.joins or came_after(join):
                continue
            later = self.changes[place + 1 :]
            left = min(
                (counts_from(c) for c in later if not c.joins and c.begins >= join.settled),
                default=FOREVER,
            )
            # Its types are those of the last join that counts.
            joins = [join, *(c for c in takewhile(lambda c: c.joins or not c.sure, later) if c.joins)]
            for counting in joins:
                if counting.admits(send.event_type):
                    replaced = (counts_from(other) for other in joins if other.begins >= counting.settled)
                    until = max(until, min(left, min(replaced, default=FOREVER)))
        return until


class Memberships:
    def __init__(self, evidence: Evidence) -> None:
        self._none = Membership(evidence, ())
        changes: dict[tuple[str, str], list[MembershipChange]] = defaultdict(list)
        for change in evidence.record.changes:
            changes[change.user_id, change.group].append(change)
        self._of = {pair: Membership(evidence, theirs) for pair, theirs in changes.items()}

    def of(self, user_id: str | None, group: str) -> Membership:
        return self._none if user_id is None else self._of.get((user_id, group), self._none)
