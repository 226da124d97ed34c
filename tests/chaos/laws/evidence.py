"""What a record proves about its messages: their places in the log, and what surely came before what.

Whatever can't be known is left open on both sides. A send without an answer may be in the log or not, at any place that
its time allows; a change of membership takes effect somewhere between its first attempt and its answer. So a law asks
two questions, whether something *must* be and whether it *may* be, and objects only where the answer is sure.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from tests.chaos.record import FOREVER, Record, Request, Row, Send
from tests.support.http import JsonObject

CLOCK_SECONDS = 0.5  # by which the database's clock and the recorder's may differ
LEARN_SECONDS = 5.0  # within which a node that nothing has befallen knows what was done elsewhere, by far
GHOST_SECONDS = 5.0  # for which a request that was not answered may still be carried out


@dataclass(slots=True, eq=False)
class Message:
    """A persisted message whose place in the log is known.

    It was sent after `sent_at` and committed by `answered_at` (infinity: nobody was told). It expires no sooner than
    `expires_from` and no later than `expires_by`.
    """

    seq: int
    send: Send
    event_id: str | None
    created_at: float | None
    expires_from: float
    expires_by: float
    sent_at: float
    answered_at: float

    @property
    def priority(self) -> int:
        return self.send.priority

    def may_be_expired(self, at: float) -> bool:
        return self.expires_from <= at + CLOCK_SECONDS

    def is_expired(self, at: float) -> bool:
        return self.expires_by < at - CLOCK_SECONDS

    def __str__(self) -> str:
        return f"message {self.send.n} (seq {self.seq}, priority {self.priority}, to {':'.join(self.send.to)})"


class Evidence:
    def __init__(self, record: Record) -> None:
        self.record = record
        self.sends = {send.n: send for send in record.sends}
        self.rows = {row.n: row for row in record.log.rows}

    @cached_property
    def messages(self) -> list[Message]:
        """All that are known to have been committed, by seq."""
        known = [self._message(n, seq) for n, seq in self._seqs.items() if n in self.sends and self.sends[n].persist]
        return sorted(known, key=lambda message: message.seq)

    @cached_property
    def _seqs(self) -> dict[int, int]:
        """The database's word counts; what is gone from it is known from what clients were told."""
        seqs = {row.n: row.seq for row in self.record.log.rows}
        for send in self.record.sends:
            accepted = send.accepted
            if send.persist and accepted is not None and accepted.answer is not None:
                seqs.setdefault(send.n, accepted.answer.get("seq") or 0)
        for connection in self.record.connections:
            for received in connection.frames:
                if received.is_message and received.id is not None:
                    seqs.setdefault(received.n, leading_seq(received.id))
        for listed in self._listed:
            seqs.setdefault(listed["data"].get("n"), listed["seq"])
        return seqs

    @cached_property
    def _event_ids(self) -> dict[int, str]:
        event_ids = {row.n: row.event_id for row in self.record.log.rows}
        for send in self.record.sends:
            accepted = send.accepted
            if send.event_id is not None:
                event_ids.setdefault(send.n, send.event_id)
            elif accepted is not None and accepted.answer is not None:
                event_ids.setdefault(send.n, accepted.answer.get("event_id") or "")
        for listed in self._listed:
            event_ids.setdefault(listed["data"].get("n"), listed["event_id"])
        return event_ids

    @property
    def _listed(self) -> Iterable[JsonObject]:
        return (listed for listing in self.record.listings for listed in listing.messages)

    @cached_property
    def unseen(self) -> list[Message]:
        """What may have been committed although nobody was answered, and has expired and been removed unseen."""
        return [
            self._message(send.n, 0)
            for send in self.record.sends
            if send.persist and send.ttl is not None and send.accepted is None and send.n not in self._seqs
        ]

    @cached_property
    def by_n(self) -> dict[int, Message]:
        return {message.send.n: message for message in self.messages}

    @cached_property
    def by_event_id(self) -> dict[str, Message]:
        return {message.event_id: message for message in self.messages if message.event_id is not None}

    def _message(self, n: int, seq: int) -> Message:
        send, row = self.sends[n], self.rows.get(n)
        expires_from, expires_by = self._expiry(send, row)
        return Message(
            seq=seq,
            send=send,
            event_id=self._event_ids.get(n),
            created_at=row.created_at if row else None,
            expires_from=expires_from,
            expires_by=expires_by,
            sent_at=send.at,
            answered_at=send.answered_at,
        )

    @staticmethod
    def _expiry(send: Send, row: Row | None) -> tuple[float, float]:
        if send.ttl is None:
            return FOREVER, FOREVER
        if row is not None and row.expire_at is not None:
            return row.expire_at, row.expire_at
        return send.at + send.ttl, send.answered_at + send.ttl

    # Places in the log, by time: seq is commit order.

    def seq_by(self, at: float) -> int:
        """A seq that was surely reached by then: whatever began later has a greater one."""
        times, seqs = self._answered
        index = bisect_right(times, at)
        return seqs[index - 1] if index else 0

    def seq_from(self, at: float) -> int:
        """The least seq of what was sent only after that; whatever was done by then came before it."""
        times, seqs = self._sent
        index = bisect_left(times, at)
        return seqs[index] if index < len(seqs) else self.record.log.last_seq + 1

    @cached_property
    def _answered(self) -> tuple[list[float], list[int]]:
        answered = sorted((m.answered_at, m.seq) for m in self.messages if m.answered_at < FOREVER)
        return [at for at, _ in answered], list(accumulate((seq for _, seq in answered), max))

    @cached_property
    def _sent(self) -> tuple[list[float], list[int]]:
        sent = sorted((m.sent_at, m.seq) for m in self.messages)
        least = list(accumulate((seq for _, seq in reversed(sent)), min))
        return [at for at, _ in sent], least[::-1]

    # Time that a node was given to learn of something.

    def learnt_by(self, node: str | None, at: float, *, over_the_bus: bool = False) -> float:
        """When a node surely knew what was done at that time, or what passes over the bus surely had passed; for None
        all of them."""
        changed = True
        while changed:
            changed = False
            for fault in self.record.faults:
                concerned = node is None or fault.nodes is None or node in fault.nodes
                concerned = concerned and (over_the_bus or not fault.bus)
                if concerned and fault.begun_at <= at + LEARN_SECONDS and fault.until > at:
                    at, changed = fault.until, True
        return at + LEARN_SECONDS

    def is_calm(self, node: str, begun: float, until: float) -> bool:
        """Whether no harm came meanwhile to that node, nor to the way to it."""
        return not any(
            fault.begun_at <= until and fault.until >= begun and (fault.nodes is None or node in fault.nodes)
            for fault in self.record.faults
        )


def settled_at(request: Request) -> float:
    """From here on it surely has no effect any more that it has not had yet."""
    ends: list[float] = []
    for attempt in request.attempts:
        if attempt.ended_at is None:
            return FOREVER
        done = attempt.accepted or (attempt.status is not None and attempt.status < 500)
        ends.append(attempt.ended_at if done else attempt.ended_at + GHOST_SECONDS)
    return max(ends)


def leading_seq(cursor: str) -> int:
    """The digits that an id begins with; 0 for none."""
    digits = len(cursor) - len(cursor.lstrip("0123456789"))
    return int(cursor[:digits] or 0)


def most(values: Iterable[float], otherwise: float) -> float:
    return max(values, default=otherwise)
