"""The seeded bugs of the application, by what they break: mostly, what happens between two awaits."""

from __future__ import annotations

from tests.mutants.patched import Mutant


def _mutant(name: str, module: str, old: str, new: str) -> Mutant:
    return Mutant(name, module, old, new, witness="test_exactness:check_histories", package="sse_app")


EXACTNESS_MUTANTS = (
    # Where a stream begins that has no cursor.
    _mutant(
        "client owed all that lies before its first visit",
        "opening",
        "return start.positions  # which",
        "return START  #",
    ),
    Mutant(
        "client's own passed over at its first visit",
        "opening",
        "return _just_before(owed, start.positions)",
        "return start.positions",
        witness="test_first_visits:test_so_it_is_by_the_time_it_asks_to_begin_at",
        package="sse_app",
    ),
    # The feed: each message once, without a hole.
    _mutant(
        "hole before an own commit not filled",
        "feed",
        "counts = await self._read_up_to(before)",
        "counts: dict[int, int] = {}",
    ),
    _mutant(
        "catch-up without its turn",
        "feed",
        "async with self.turn:\n            head = await",
        "if True:\n            head = await",
    ),
    _mutant(
        "head moved after its messages are handed out",
        "hub",
        "            for connection in connections:\n                connection.take(run)\n",
        "            head, first = self.flow.head.seq, next((m.seq for m in messages if m.seq is not None), None)\n"
        "            self.flow.head.move(head if first is None else first - 1)\n"
        "            for connection in connections:\n                connection.take(run)\n"
        "            self.flow.head.move(head)\n",
    ),
    _mutant("commit without its turn", "sequencer", "async with self._feed.turn:", "if True:"),
    _mutant("repeats handed out again", "sequencer", " if a.outcome is Outcome.NEW])", "])"),
    _mutant("expired message handed out", "hub", "if message.expire_at is not None and", "if False and"),
    # Openings.
    _mutant(
        "stream opened beyond what the node has applied",
        "lookup",
        "head = await self._feed.catch_up()",
        "head = await self._feed._log.head()",
    ),
    _mutant(
        "stream taken for level with where it begins",
        "opening",
        "considered, head.seq, self._caps",
        "considered, max(considered), self._caps",
    ),
    _mutant(
        "stream registered before its memberships are known",
        "lookup",
        "opening.user.load(standing[opening.user_id])",
        "opening.user.load([])",
    ),
    # What openings that wait together are told.
    _mutant(
        "memberships looked up before the opening",
        "opening",
        "        with self._hub.opening(request.user_id) as user:\n",
        "        early = UserStreams()\n"
        "        await self._known(request, early, ())\n"
        "        with self._hub.opening(request.user_id) as user:\n"
        "            user.load(early.subscriptions.values())\n",
    ),
    _mutant(
        "head that was asked for before the opening",
        "lookup",
        "return await self._heads.answer(None)",
        "self._stale, stale = await self._heads.answer(None), getattr(self, '_stale', None)\n"
        "        return stale or self._stale",
    ),
    _mutant(
        "answers given to the wrong ones",
        "gathering",
        "zip(some, answers, strict=True)",
        "zip(some, reversed(answers))",
    ),
    _mutant(
        "counts of another user",
        "lookup",
        'unread.get(opening.user_id or "")',
        "next(iter(unread.values()), None)",
    ),
    _mutant("only the first of them told of a failure", "gathering", "for each in some:", "for each in some[:1]:"),
    _mutant(
        "cancelled opening answered",
        "gathering",
        "if not each.answer.done():\n                each.answer.set_result",
        "if True:\n                each.answer.set_result",
    ),
    _mutant(
        "nothing asked any more after a pause", "gathering", "self._asking = None\n\n    async", "pass\n\n    async"
    ),
    _mutant("something unread taken for nothing", "opening", "or known.unread.total or", "or"),
    _mutant(
        "nothing unread taken for nothing owed to a client", "opening", "uncounted = named_client or (", "uncounted = ("
    ),
    _mutant(
        "nothing unread taken for nothing owed to groups of the URL",
        "opening",
        "named_client or (audience.groups and start.groups_after < known.counted_through)",
        "named_client",
    ),
    # Memberships.
    _mutant(
        "join without its turn",
        "memberships",
        "async with self._feed.changing():\n            subscription, new",
        "if True:\n            subscription, new",
    ),
    _mutant("open streams not told of a join", "hub", "user.change(subscription.group, subscription)", "pass"),
    _mutant(
        "open streams not offered what they joined",
        "hub",
        "self.groups.setdefault(subscription.group, set()).update(user.connections)",
        "pass",
    ),
    _mutant("lanes not dropped on leave", "hub", "user.change(group, None)", "pass"),
    # Writing and reading the log.
    _mutant(
        "blocked stream written to",
        "connection",
        "if self.delivery.level and not writer.blocked:",
        "if self.delivery.level:",
    ),
    _mutant(
        "blocked stream kept among the ready",
        "flow",
        "ready[writer].place()",
        "pass",
    ),
    _mutant(
        "stream that is behind kept among the ready",
        "connection",
        "self.delivery.level and self.event_types is None and",
        "self.event_types is None and",
    ),
    _mutant(
        "filtered stream kept among the ready",
        "connection",
        "self.delivery.level and self.event_types is None and",
        "self.delivery.level and",
    ),
    _mutant("broadcasts not noted as given", "flow", "connection.delivery.gave(message)", "pass"),
    _mutant(
        "broadcast offered as well to streams that it has just blocked",
        "hub",
        """            admitting = [_of_type(self.flow.others, message) for message in messages]
            ready = self.flow.give_to_ready(self.flow.shared_run(messages))
""",
        """            ready = self.flow.give_to_ready(self.flow.shared_run(messages))
            admitting = [_of_type(self.flow.others, message) for message in messages]
""",
    ),
    _mutant("cursor of an overtaken position left out", "flow", "if given.positions is None:", "if True:"),
    _mutant(
        "cursor taken after all that is given with it",
        "connection",
        "writer.give([(item.message, flow.cursor(item)) for item in given])",
        "at = delivery.positions(flow.head.seq)\n"
        "                writer.give([(item.message, flow.cursor(item._replace(positions=at))) for item in given])",
    ),
    _mutant(
        "heartbeat of a stream that is behind stands at the head",
        "connection",
        "if self.delivery.level:\n            return head.level_cursor",
        "if True:\n            return head.level_cursor",
    ),
    _mutant("failed read never given up", "flow", "connection.delivery.read_failed()", "pass"),
    _mutant("failed read never taken up again", "heartbeat", "connection.pump()", "pass"),
    # Unread counts.
    _mutant("expiry not told", "unread", "self._watched[user_id] = counts.next_expiry", "pass"),
    _mutant("counts for a blocked stream forgotten", "connection", "if owed is not None:", "if False:"),
    # What must not stay behind.
    _mutant("user of a cancelled opening kept", "hub", "user.opening -= 1", "pass"),
    _mutant("what waits for a stream that left kept in the budget", "connection", "self.delivery.close()", "pass"),
    _mutant("user without watching streams counted for", "unread", "self._watched.pop(user_id, None)", "pass"),
)
