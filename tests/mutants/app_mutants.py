"""The seeded bugs of the application."""

from __future__ import annotations

from functools import partial

from tests.mutants.patched import Mutant

AppMutant = partial(Mutant, package="sse_app")

INTERLEAVED = "test_other_nodes:test_no_message_beyond_a_join_is_missed_whatever_the_interleaving"
NEW = "test_lost_replies:test_after_a_lost_reply_a_message_without_an_id_is_what_it_is_new"
PATIENCE = "test_patience:test_patience_begins_with_what_is_sent_and_anew_with_each_commit"

APP_MUTANTS = (
    # Fan-out.
    AppMutant(
        "an empty batch handed out where there is nothing",
        "fan_out",
        "    if run.messages:\n        yield",
        "    if True:\n        yield",
        "test_fan_out:test_a_repeat_is_answered_and_nothing_written_whatever_is_going_out",
    ),
    AppMutant(
        "a repeat queued behind what is going out",
        "fan_out",
        "if not messages:",
        "if False:",
        "test_fan_out:test_a_repeat_is_answered_and_nothing_written_whatever_is_going_out",
    ),
    AppMutant(
        "ephemeral messages overtaken by others of their priority",
        "fan_out",
        "if self._publishing is not None:\n            return None",
        "if False:\n            return None",
        "test_fan_out:test_nothing_goes_before_what_was_sent_before_it_but_what_is_more_urgent",
    ),
    AppMutant(
        "a failing writer kept among the ready",
        "flow",
        "if error is None:",
        "if True:",
        "test_streams:test_a_reader_that_fails_keeps_no_broadcast_from_the_others",
    ),
    # What other nodes change.
    AppMutant(
        "memberships not learned before messages", "feed", "await self._learn(head.memberships)", "pass", INTERLEAVED
    ),
    AppMutant(
        "memberships learned after messages",
        "feed",
        """        await self._learn(head.memberships)
        counts = await self._read_up_to(before)
        return counts | await self._publish(messages)
""",
        """        counts = await self._read_up_to(before)
        counts |= await self._publish(messages)
        await self._learn(head.memberships)
        return counts
""",
        INTERLEAVED,
    ),
    AppMutant(
        "a change here hides those elsewhere",
        "feed",
        "if membership.version == self._memberships + 1:",
        "if True:",
        INTERLEAVED,
    ),
    AppMutant(
        "tick looks at messages only",
        "feed",
        "known = seq <= head.seq <= flow.seq and memberships <= head.memberships <= self._memberships",
        "known = seq <= head.seq <= flow.seq",
        "test_other_nodes:test_a_join_elsewhere_takes_effect_on_an_open_stream_with_the_tick",
    ),
    AppMutant(
        "first page of changes taken for all",
        "feed",
        "reached if len(changes) == READ_CHANGES else max(reached, version)",
        "max(reached, version)",
        "test_other_nodes:test_more_changes_than_are_read_at_once_are_all_learned",
    ),
    AppMutant(
        "hole filled beyond its end",
        "feed",
        " if (message.seq or 0) <= seq]",
        "]",
        "test_other_nodes:test_what_was_removed_from_a_hole_brings_in_nothing_of_what_follows_it",
    ),
    AppMutant(
        "leaves elsewhere ignored",
        "feed",
        "self._hub.left(membership.user_id, membership.group)",
        "pass",
        "test_other_nodes:test_a_leave_elsewhere_ends_what_comes_after_it",
    ),
    AppMutant(
        "change while a stream opens forgotten",
        "hub",
        "if s.group not in changed)",
        "if True)",
        "test_other_nodes:test_what_is_learned_while_a_stream_opens_stays_known",
    ),
    # A log that is set back or replaced.
    AppMutant(
        "log set back keeps its name",
        "feed",
        "            self._set_back = head.epoch",
        "            pass",
        "test_replaced_log:test_all_nodes_take_the_one_new_name",
    ),
    AppMutant(
        "name that could not be given forgotten",
        "feed",
        "            self._set_back = head.epoch",
        "            self._set_back = head.epoch\n        else:\n            self._set_back = ''",
        "test_replaced_log:test_until_it_has_another_name_no_stream_opens",
    ),
    AppMutant(
        "where the log ended before an append not looked at",
        "feed",
        "if self._replaced(head, before):",
        "if self._replaced(head, head.seq):",
        "test_replaced_log:test_the_first_append_after_finds_it_however_far_it_goes",
    ),
    AppMutant(
        "memberships set back not looked at",
        "feed",
        "or head.memberships < self._memberships",
        "",
        "test_replaced_log:test_memberships_are_as_the_log_has_them",
    ),
    AppMutant(
        "memberships of the log before kept",
        "feed",
        "self._hub.forget_users()",
        "pass",
        "test_replaced_log:test_a_stream_that_opens_meanwhile_begins_on_the_log_that_there_is_then",
    ),
    AppMutant(
        "what the log before gave recorded",
        "feed",
        "self._ledger.forget()",
        "pass",
        "test_replaced_log:test_what_was_given_of_what_is_gone_does_not_count_as_given",
    ),
    AppMutant(
        "recorded before the log is looked at",
        "node",
        "await self._feed.catch_up()",
        "pass",
        "test_replaced_log:test_what_was_given_of_what_is_gone_does_not_count_as_given",
    ),
    AppMutant(
        "opening goes on with what it found before",
        "opening",
        "if self._hub.flow.head.epoch != epoch:",
        "if False:",
        "test_replaced_log:test_a_stream_that_opens_meanwhile_begins_on_the_log_that_there_is_then",
    ),
    AppMutant(
        "streams open on a log without a name",
        "opening",
        "epoch = self._hub.flow.head.epoch or (await self._lookup.head()).epoch",
        "epoch = self._hub.flow.head.epoch",
        "test_replaced_log:test_until_it_has_another_name_no_stream_opens",
    ),
    # A stream that need not read the log.
    AppMutant(
        "nothing unread taken for nothing owed by what came after it was counted",
        "lookup",
        'unread.get(opening.user_id or ""), head, theirs)',
        'unread.get(opening.user_id or ""), self._hub.flow.head.seq, theirs)',
        "test_openings:test_what_is_sent_after_the_unread_are_counted_is_not_passed_over",
    ),
    AppMutant(
        "nothing unread taken for nothing owed to a changed membership",
        "opening",
        " or audience.subscriptions != known.memberships:",
        ":",
        "test_openings:test_what_a_membership_changed_after_the_count_lets_in_is_not_passed_over",
    ),
    # Commits whose reply is lost.
    AppMutant(
        "no second try",
        "sequencer",
        'log.warning("a commit is tried once more: %s", error.detail)',
        "raise",
        "test_lost_replies:test_a_batch_with_a_lost_reply_is_answered_one_by_one_whatever_others_commit_meanwhile",
    ),
    AppMutant(
        "second try does not look for the first",
        "sequencer",
        "replace(entry, may_repeat=True) for entry in entries",
        "entry for entry in entries",
        NEW,
    ),
    AppMutant(
        "own first try taken for a publisher's",
        "sequencer",
        "if outcome is Outcome.REPEATED and not entry.may_repeat:",
        "if False:",
        NEW,
    ),
    AppMutant(
        "a publisher's repeat taken for our own",
        "sequencer",
        "if outcome is Outcome.REPEATED and not entry.may_repeat:",
        "if outcome is Outcome.REPEATED:",
        "test_lost_replies:test_after_a_lost_reply_a_message_with_an_id_may_be_a_repeat",
    ),
    AppMutant(
        "senders given up though there are commits",
        "sequencer",
        "max(submission.since, self._committed_at)",
        "submission.since",
        PATIENCE,
    ),
    AppMutant(
        "senders given up for what was before them",
        "sequencer",
        "max(submission.since, self._committed_at)",
        "self._committed_at",
        PATIENCE,
    ),
    AppMutant(
        "what the first try committed left to the tick", "feed", "if messages else head.seq", "if messages else 0", NEW
    ),
    AppMutant(
        "what is committed answered as failed",
        "sequencer",
        'log.warning("what was just committed reaches this node\'s streams later: %s", error.detail)',
        "raise",
        "test_lost_replies:test_what_is_committed_is_answered_so_though_the_log_cannot_be_read_after",
    ),
)
