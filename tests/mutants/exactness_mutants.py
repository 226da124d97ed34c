"""The seeded bugs of the application, by what they break: mostly, what happens between two awaits."""

from __future__ import annotations

from tests.mutants.patched import Mutant


def _mutant(name: str, module: str, old: str, new: str) -> Mutant:
    return Mutant(name, module, old, new, witness="test_exactness:check_histories", package="sse_app")


EXACTNESS_MUTANTS = (
    # The feed: each message once, without a hole.
    _mutant(
        "hole before an own commit not filled",
        "feed",
        "counts = await self._read_up_to(before)",
        "counts: dict[int, int] = {}",
    ),
    _mutant("hole filled beyond its end", "feed", " if (m.seq or 0) <= seq]", "]"),
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
    _mutant("expired message handed out", "hub", "if message.expired(self.flow.clock.now()):", "if False:"),
    # Openings.
    _mutant(
        "stream opened beyond what the node has applied",
        "opening",
        "head = await self._feed.catch_up()",
        "head = await self._log.head()",
    ),
    _mutant(
        "stream taken for level with where it begins",
        "opening",
        "start.positions, head.seq, self._caps",
        "start.positions, max(start.positions), self._caps",
    ),
    _mutant(
        "stream registered before its memberships are known",
        "opening",
        "user.load(await self._subscriptions.of_user(request.user_id))",
        "user.load([])",
    ),
    # Memberships.
    _mutant(
        "join without its turn",
        "service",
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
        "if not delivery.level or self.writer.blocked:",
        "if not delivery.level:",
    ),
    _mutant("cursor of an overtaken position left out", "connection", "if given.positions is None:", "if True:"),
    _mutant(
        "cursor taken after all that is given with it",
        "connection",
        "self._give([(item.message, flow.cursor(item)) for item in given])",
        "at = delivery.positions(flow.head.seq)\n"
        "            self._give([(item.message, flow.cursor(item._replace(positions=at))) for item in given])",
    ),
    _mutant(
        "heartbeat of a stream that is behind stands at the head",
        "connection",
        "if self.delivery.level:\n            return head.level_cursor",
        "if True:\n            return head.level_cursor",
    ),
    _mutant("failed read never given up", "connection", "delivery.read_failed()", "pass"),
    _mutant("failed read never taken up again", "heartbeat", "connection.pump()", "pass"),
    # Unread counts.
    _mutant("expiry not told", "unread", "self._watched[user_id] = counts.next_expiry", "pass"),
    _mutant("counts for a blocked stream forgotten", "connection", "if owed is not None:", "if False:"),
    # What must not stay behind.
    _mutant("user of a cancelled opening kept", "hub", "user.opening -= 1", "pass"),
    _mutant("what waits for a stream that left kept in the budget", "connection", "self.delivery.close()", "pass"),
    _mutant("user without watching streams counted for", "unread", "self._watched.pop(user_id, None)", "pass"),
)
