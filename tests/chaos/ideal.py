"""A hub that makes no mistakes, in memory and with a clock of its own: it makes the records that a checker must pass.

It is as simple as SPEC §3 and §4 allow.
"""

from __future__ import annotations

from tests.chaos.ideal_streams import IdealStreams
from tests.chaos.record import (
    FOREVER,
    Attempt,
    Count,
    Disconnect,
    FramePlace,
    Listing,
    Log,
    Mark,
    MembershipChange,
    Record,
    Row,
)


class IdealHub(IdealStreams):
    def change(
        self,
        user: str,
        group: str,
        *,
        joins: bool,
        event_types: list[str] | None = None,
        answered: bool = True,
        done: bool = True,
    ) -> MembershipChange:
        change = MembershipChange(user_id=user, group=group, joins=joins, event_types=event_types)
        self.record.changes.append(change)
        self.change_again(change, answered=answered, done=done)
        return change

    def change_again(self, change: MembershipChange, *, answered: bool = True, done: bool = True) -> None:
        attempt = Attempt(node="one", at=self.step())
        change.attempts.append(attempt)
        self.step()
        pair = (change.user_id, change.group)
        if done and change.joins:
            after, _ = self.members.get(pair, (len(self.kept), None))
            self.members[pair] = (after, change.event_types)
        elif done:
            self.members.pop(pair, None)
        attempt.ended_at = self.step()
        if answered:
            attempt.status, attempt.answer = 200, {}

    def mark(
        self,
        user: str,
        *,
        event_ids: list[str] | None = None,
        up_to: str | None = None,
        up_to_frame: FramePlace | None = None,
    ) -> Mark:
        """With none of these: all."""
        mark = Mark(user_id=user, event_ids=event_ids, up_to=up_to, up_to_frame=up_to_frame)
        self.record.marks.append(mark)
        attempt = Attempt(node="two", at=self.step())
        mark.attempts.append(attempt)
        self.step()
        limit = FOREVER
        if up_to is not None:
            limit = next(kept.seq for kept in self.kept if kept.event_id == up_to)
        given = None
        if up_to_frame is not None:
            cursor = self.record.connections[up_to_frame.connection].frames[up_to_frame.frame].id
            given = self.states[cursor or ""].given
        for kept in self.visible(user):
            named = event_ids is None or kept.event_id in event_ids
            if named and kept.seq <= limit and (given is None or kept.seq in given):
                self.read.add((user, kept.seq))
        attempt.answer = {"unread": self.unread(user)}
        attempt.status, attempt.ended_at = 200, self.step()
        self._tell(user)
        return mark

    def _tell(self, user: str) -> None:
        for stream in self.streams:
            if stream.open and stream.connection.unread and stream.connection.user_id == user:
                self.control(stream, "sse.unread", self.unread(user))

    def count(self, user: str) -> Count:
        count = Count(user_id=user, node="two", at=self.step(), ended_at=self.now, counts=self.unread(user))
        count.ended_at = self.step()
        self.record.counts.append(count)
        return count

    def list_messages(self, user: str) -> Listing:
        at = self.step()
        messages = [
            {
                "event_id": kept.event_id,
                "seq": kept.seq,
                "event_type": kept.send.event_type,
                "receiver_type": kept.send.to[0],
                "receiver_id": kept.send.to[1] or None,
                "priority": kept.send.priority,
                "data": kept.send.data,
                "status": "read" if (user, kept.seq) in self.read else "sent",
            }
            for kept in self.visible(user)
        ]
        listing = Listing(user_id=user, node="two", at=at, ended_at=self.step(), messages=messages)
        self.record.listings.append(listing)
        return listing

    def disconnect(self, client: str, *, reconnect: bool) -> None:
        attempt = Attempt(node="one", at=self.step(), status=200, answer={})
        self.record.disconnects.append(Disconnect(client_id=client, reconnect=reconnect, attempts=[attempt]))
        for stream in self.streams:
            if stream.open and stream.connection.client_id == client:
                self.control(stream, "sse.close", {"reason": "disconnected", "reconnect": reconnect})
                self.close(stream)
                stream.connection.end = "ended"
        attempt.ended_at = self.step()

    def finish(self) -> Record:
        """All is quiet, and every reader has what is its own."""
        for stream in self.streams:
            stream.stalled = False
        self.step(20)
        self.flush()
        for user in {stream.connection.user_id for stream in self.streams if stream.connection.unread}:
            self._tell(user or "")
        self.step(5)
        for stream in self.streams:
            if stream.open:
                self.close(stream, "finished")
        rows = [
            Row(
                seq=kept.seq,
                event_id=kept.event_id,
                n=kept.send.n,
                event_type=kept.send.event_type,
                to=kept.send.to,
                priority=kept.send.priority,
                status=2 if (kept.send.to[1], kept.seq) in self.read else 1,
                created_at=kept.created_at,
                expire_at=None if kept.expire_at == FOREVER else kept.expire_at,
            )
            for kept in self.kept
            if kept.seq not in self.removed
        ]
        joined = [(user, group, after) for (user, group), (after, _) in self.members.items()]
        self.record.log = Log(last_seq=len(self.kept), rows=rows, joined=joined, read=sorted(self.read))
        return self.record
