"""What this node hears from the other nodes of its hub, and what becomes of it."""

from __future__ import annotations

from sse_app.disconnecting import Disconnections
from sse_app.fan_out import FanOut
from sse_app.following import Follower
from sse_app.questions import Questions
from sse_app.unread import UnreadWatch
from sse_domain.notes import Answer, Committed, EndStreams, HasRead, LearnMemberships, Note, Passing
from sse_domain.ports import Bus


class Cluster:
    def __init__(
        self,
        bus: Bus,
        follower: Follower,
        fan_out: FanOut,
        unread: UnreadWatch,
        disconnections: Disconnections,
        questions: Questions,
    ) -> None:
        self._bus = bus
        self._follower = follower
        self._fan_out = fan_out
        self._unread = unread
        self._disconnections = disconnections
        self._questions = questions

    async def start(self) -> None:
        """Hear the others from now on. Does not wait for a bus that can't be reached."""
        await self._bus.start(self.hear, self._follower.missed)

    def hear(self, node_id: str, note: Note) -> None:
        match note:
            case Committed():
                self._follower.hear(note)
            case LearnMemberships():
                self._follower.hear_question(note)
            case Passing():
                self._fan_out.hear(node_id, note)
            case HasRead():
                self._unread.changed(note.user_id)
            case EndStreams():
                self._disconnections.hear(note)
            case Answer():
                self._questions.hear_answer(node_id, note.question_id, note.number)
