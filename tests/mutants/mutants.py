"""The seeded bugs, by module. Each is one a programmer could make, and one that readers would suffer from."""

from __future__ import annotations

from tests.mutants.patched import Mutant

MUTANTS = (
    # What waits, and how a lane that is behind becomes level again.
    Mutant("tail not joined", "lane", "self.waiting.extend(self.tail)", "pass"),
    Mutant(
        "tail joined before the gap is closed",
        "lane",
        "if self.tail_from is not None and self.read_to >= self.tail_from:",
        "if self.tail_from is not None:",
    ),
    Mutant(
        "tail kept after it was joined",
        "lane",
        "self.tail.clear()\n            self.tail_from = None",
        "self.tail_from = None",
    ),
    Mutant("tail said to begin later than it does", "lane", "if self.tail_from is None:", "if True:"),
    Mutant(
        "read goes beyond where the tail begins",
        "delivery",
        "through = min(through, lane.keep_tail_from(head))",
        "lane.keep_tail_from(head)",
    ),
    Mutant(
        "fall back forgets that the lane is behind",
        "lane",
        "self.considered = self.read_to = first - 1\n            self.behind = True",
        "self.considered = self.read_to = first - 1",
    ),
    Mutant("fall back skips a message", "lane", "self.read_to = first - 1", "self.read_to = first"),
    Mutant(
        "cut page taken for the whole",
        "delivery",
        "lane.was_read_to(last.seq)",
        "lane.was_read_to(request.through)",
    ),
    Mutant(
        "lanes that a cut page did not reach taken for read",
        "delivery",
        "if last is None or priority > last.priority:",
        "if last is None or priority != last.priority:",
    ),
    Mutant(
        "level claimed with a lane behind",
        "delivery",
        "if self._lanes is None or any(lane.behind for lane in self._lanes):",
        "if self._lanes is None:",
    ),
    Mutant(
        "failed read never asked for again",
        "delivery",
        'will ask for it again."""\n        self._reading = None',
        'will ask for it again."""',
        "test_delivery:test_no_more_than_one_read_runs_and_a_failed_one_is_asked_for_again",
    ),
    # Order.
    Mutant(
        "lowest first",
        "delivery",
        "(Priority.URGENT, Priority.HIGH, Priority.NORMAL)",
        "(Priority.NORMAL, Priority.HIGH, Priority.URGENT)",
    ),
    Mutant(
        "lower lanes pulled while a higher one must read",
        "delivery",
        "if lane.waiting or lane.behind:",
        "if lane.waiting or (lane.behind and not any(other.waiting for other in self._lanes)):",
    ),
    # Cursors.
    Mutant(
        "lane that is behind said to stand at the head",
        "lane",
        "return self.read_to if self.behind else head",
        "return head",
    ),
    Mutant("first waiting message said to be given", "lane", "return first - 1", "return first"),
    Mutant("given message not considered", "delivery", "lane.considered = message.seq", "pass"),
    Mutant("overtaken positions left out", "cursor", "if positions == (seq, seq, seq):", "if seq in positions:"),
    Mutant("positions in the wrong order", "cursor", "for i in (3, 4, 5)", "for i in (5, 4, 3)"),
    Mutant(
        "purged messages resumed over",
        "replay",
        "min(cursor.positions) <",
        "max(cursor.positions) <",
        "test_replay:test_a_cursor_from_before_what_was_purged_in_any_priority_is_too_old",
    ),
    # Time and audience.
    Mutant("expired one instant late", "message", "self.expire_at <= now", "self.expire_at < now"),
    Mutant(
        "expiry not looked at when pulled",
        "delivery",
        "message.expired(now) or not",
        "not",
        "test_delivery:test_an_expired_message_is_passed_over_from_the_very_instant",
    ),
    Mutant(
        "leaving does not revoke",
        "delivery",
        "or not self.audience.admits(message)",
        "or False",
        "test_delivery:test_leaving_revokes_what_waits",
    ),
    Mutant("URL group from before the join", "subscription", "message.seq > self.groups_after", "True"),
    Mutant("subscription from before the join", "subscription", "message.seq > self.joined_after", "True"),
    Mutant(
        "subscribed types ignored",
        "subscription",
        "self.event_types is None or message.event_type in self.event_types",
        "True",
    ),
    Mutant(
        "stream's types ignored",
        "subscription",
        "if self.event_types is not None and message.event_type not in self.event_types:",
        "if False:",
    ),
    Mutant("client messages to every device", "subscription", "return identity == self.client_id", "return True"),
    Mutant("inbox shows others' messages", "inbox", "return identity == user_id", "return True"),
    Mutant(
        "inbox forgets group messages",
        "inbox",
        "return subscription is not None and subscription.admits(message)",
        "return False",
    ),
    Mutant("sent taken for pending", "inbox", "(message.seq or 0) <= delivered", "(message.seq or 0) < delivered"),
    # Bounds and ephemeral messages.
    Mutant("count not reduced", "delivery", "self._hold(-1, -len(message.data))", "pass"),
    Mutant(
        "page not counted",
        "delivery",
        "self._hold(len(page.messages), sum(len(message.data) for message in page.messages))",
        "pass",
    ),
    Mutant("bytes not counted", "delivery", "self._hold(1, len(message.data))", "self._hold(1, 0)"),
    Mutant(
        "budget ignored",
        "delivery",
        "if full or self._budget.used > self._budget.limit:",
        "if full:",
        "test_budget:test_streams_share_a_budget_and_past_it_fall_back_to_the_log",
    ),
    Mutant(
        "what is kept blocks the log",
        "delivery",
        "if self._budget.used >= self._budget.limit:\n            self._fall_back()",
        "if self._budget.used >= self._budget.limit:",
        "test_budget:test_streams_that_need_the_log_do_not_wait_for_what_they_keep_themselves",
    ),
    Mutant(
        "a shared run claims too much",
        "delivery",
        "(lane[0] - 1 if lane else head for lane in waiting)",
        "(head for lane in waiting)",
        "test_delivery:test_a_run_at_once_is_what_a_level_stream_would_be_given_one_by_one",
    ),
    Mutant("dropped ones not counted", "delivery", "self._drop(lane.ephemerals())", "pass"),
    Mutant(
        "ephemeral kept twice",
        "delivery",
        "lane.tail.append(message)",
        "lane.tail.extend([message] * (2 if message.seq is None else 1))",
    ),
    Mutant(
        "ephemeral given a cursor",
        "delivery",
        "if seq is None or self._lanes is None:\n            return None",
        "if self._lanes is None:\n            return None\n        seq = seq or head",
    ),
)
