"""What surely was read by a user, and what may have been, at a given time (SPEC §4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.laws.evidence import Evidence, Message, leading_seq, settled_at
from tests.chaos.laws.memberships import Memberships
from tests.chaos.record import FOREVER, Mark

MAX_SEQ = 2**53 - 1  # any message may be meant by an id that is not known


@dataclass(slots=True, eq=False)
class _Mark:
    mark: Mark
    begins: float
    settled: float
    done_at: float  # infinity if it may never have been
    asked_at: float  # when it was asked for with success
    these: frozenset[str] | None
    up_to_seq: int | None
    target: Message | None
    given: frozenset[int]


class Marks:
    def __init__(
        self, evidence: Evidence, memberships: Memberships, given_by: Callable[[Mark], frozenset[int]]
    ) -> None:
        """`given_by`: the seqs that a stream had been given when the frame came up to whose id a mark goes."""
        self._memberships = memberships
        self._of: dict[str, list[_Mark]] = defaultdict(list)
        self._evidence = evidence
        self._may_be_read_from: dict[tuple[str, int], float] = {}
        self._read_at: dict[tuple[str, int], float] = {}
        for mark in evidence.record.marks:
            accepted = mark.accepted
            given = given_by(mark) if mark.up_to_frame is not None else frozenset()
            target = None if mark.up_to is None else evidence.by_event_id.get(mark.up_to)
            self._of[mark.user_id].append(
                _Mark(
                    mark=mark,
                    begins=mark.at,
                    settled=settled_at(mark),
                    done_at=mark.answered_at,
                    asked_at=FOREVER if accepted is None else accepted.at,
                    these=None if mark.event_ids is None else frozenset(mark.event_ids),
                    up_to_seq=self._up_to(mark, target, given),
                    target=target,
                    given=given,
                )
            )

    def may_be_read(self, user_id: str | None, message: Message, at: float) -> bool:
        return self.may_be_read_from(user_id, message) <= at

    def may_be_read_from(self, user_id: str | None, message: Message) -> float:
        """Before this it surely is not; infinity if it never may be."""
        if user_id not in self._of:
            return FOREVER
        known = (user_id, message.seq)
        if known not in self._may_be_read_from:
            covering = (mark.begins for mark in self._of[user_id] if self._may_cover(mark, message))
            self._may_be_read_from[known] = min(covering, default=FOREVER)
        return self._may_be_read_from[known]

    def read_at(self, user_id: str | None, message: Message, *, counting: Mark | None = None) -> float:
        """From here on it surely is read; infinity if it never is. A mark that is `counting` is done when it is asked
        for: what is told in the answer to it comes after it."""
        if user_id not in self._of:
            return FOREVER
        known = (user_id, message.seq)
        if known not in self._read_at:
            covering = (mark.done_at for mark in self._of[user_id] if self._covers(user_id, mark, message))
            self._read_at[known] = min(covering, default=FOREVER)
        read_at = self._read_at[known]
        if counting is not None:
            [mark] = [mark for mark in self._of[user_id] if mark.mark is counting]
            if self._covers(user_id, mark, message):
                read_at = min(read_at, mark.asked_at)
        return read_at

    @staticmethod
    def _may_cover(mark: _Mark, message: Message) -> bool:
        if mark.these is not None:
            return message.event_id is None or message.event_id in mark.these
        if mark.up_to_seq is not None:
            return message.seq <= mark.up_to_seq
        return message.sent_at <= mark.settled

    def _covers(self, user_id: str, mark: _Mark, message: Message) -> bool:
        if mark.done_at == FOREVER or message.answered_at > mark.asked_at or message.may_be_expired(mark.done_at):
            return False
        if not self.is_visible(user_id, message, mark.done_at):
            return False
        if mark.these is not None:
            return message.event_id in mark.these
        if mark.given:
            return message.seq in mark.given
        if mark.up_to_seq is None:
            return True
        target = mark.target  # one that is not visible is ignored
        return (
            target is not None
            and message.seq <= target.seq
            and not target.may_be_expired(mark.done_at)
            and self.is_visible(user_id, target, mark.done_at)
        )

    def is_visible(self, user_id: str, message: Message, at: float) -> bool:
        """Whether it surely is the user's, were it not for its expiry."""
        kind, identity = message.send.to
        if kind == "group":
            return self._memberships.of(user_id, identity).must_admit(message, at)
        return kind == "broadcast" or (kind, identity) == ("user", user_id)

    def may_be_visible(self, user_id: str, message: Message, at: float) -> bool:
        kind, identity = message.send.to
        if kind == "group":
            return self._memberships.of(user_id, identity).may_admit(message, at, None)
        return kind == "broadcast" or (kind, identity) == ("user", user_id)

    def _up_to(self, mark: Mark, target: Message | None, given: frozenset[int]) -> int | None:
        if mark.up_to_frame is not None:
            place = mark.up_to_frame
            cursor = self._evidence.record.connections[place.connection].frames[place.frame].id or ""
            return max(leading_seq(cursor), *given, 0)
        if mark.up_to is not None:
            return MAX_SEQ if target is None else target.seq
        return None
