"""The seeded bugs of what nodes tell each other, and of what many streams share."""

from __future__ import annotations

from tests.mutants.patched import Mutant

SEVERAL = "test_exactness:check_histories_of_several_nodes"


def _mutant(name: str, module: str, old: str, new: str, witness: str = SEVERAL) -> Mutant:
    return Mutant(name, module, old, new, witness, package="sse_app")


def _notes(name: str, module: str, old: str, new: str, test: str) -> Mutant:
    return _mutant(name, module, old, new, f"test_notes:{test}")


def _presence(name: str, old: str, new: str, test: str) -> Mutant:
    return _mutant(name, "presence", old, new, f"test_presence:{test}")


def _disconnecting(name: str, old: str, new: str, test: str) -> Mutant:
    return _mutant(name, "disconnecting", old, new, f"test_disconnecting:{test}")


def _question(name: str, old: str, new: str, test: str) -> Mutant:
    return _mutant(name, "questions", old, new, f"test_disconnecting:{test}")


def _membership(name: str, module: str, old: str, new: str, test: str) -> Mutant:
    return _mutant(name, module, old, new, f"test_memberships:{test}")


def _shared_read(name: str, old: str, new: str, module: str = "connection", test: str = "check_pairs") -> Mutant:
    return _mutant(name, module, old, new, f"test_shared_reads:{test}")


def _counts(name: str, old: str, new: str, test: str) -> Mutant:
    return _mutant(name, "unread_counts", old, new, f"test_unread_counts:{test}")


KEY = "return audience.user_id, client_id, audience.groups, audience.groups_after, audience.event_types"

CLUSTER_MUTANTS = (
    # Hints.
    _mutant("hints applied over a hole", "hints", "pop(after + 1, None)", "pop(min(self._messages, default=0), None)"),
    _mutant("hints that are of no more use kept", "feed", "        self._hints.forget(head.seq)\n", ""),
    _mutant(
        "room that hints took not given back",
        "hints",
        "-= len(message.data)\n            after",
        "-= 0\n            after",
    ),
    _mutant(
        "hints applied without the feed's turn",
        "feed",
        "async with self.turn:  # each time",
        "if True:  # each time",
    ),
    _notes(
        "hints applied before the memberships that came before them",
        "feed",
        "await self._learn(hints.memberships)\n                if self._memberships < hints.memberships:",
        "if False:",
        "test_a_message_never_comes_before_the_join_that_was_before_it",
    ),
    _notes(
        "memberships told of while others are learned forgotten",
        "feed",
        "if self._memberships < hints.memberships:",
        "if False:",
        "test_a_join_that_is_told_of_while_another_is_learned_comes_before_its_messages_too",
    ),
    _notes(
        "hints of another log taken",
        "feed",
        "if told.epoch != flow.epoch:",
        "if False:",
        "test_a_note_of_another_log_makes_the_node_look_at_its_own",
    ),
    _mutant(
        "hints of the log before kept",
        "feed",
        "self._hints.clear()",
        "pass",
        "test_replaced_log:test_what_was_told_of_the_log_before_is_not_taken_for_what_comes_in_its_place",
    ),
    _notes(
        "hints that the log does not bear out kept",
        "feed",
        "if head.seq < heard:",
        "if False:",
        "test_what_the_log_has_lost_is_not_given_for_what_it_has_in_its_place",
    ),
    _notes(
        "hints heard again while they are applied kept",
        "feed",
        "                    hints.forget(head.seq)\n                    return None",
        "                    return None",
        "test_a_note_that_comes_again_while_it_is_applied_is_not_kept",
    ),
    # Following.
    _notes(
        "notes that may have been missed not looked for",
        "following",
        "        self._missed = True\n",
        "",
        "test_notes_that_may_have_been_missed_are_looked_for_in_the_log",
    ),
    _notes(
        "following ended by a failure",
        "following",
        "except Exception:",
        "except ZeroDivisionError:",
        "test_following_goes_on_after_a_failure",
    ),
    _notes(
        "one patience for all holes",
        "following",
        "if found != hole:",
        "if hole is None:",
        "test_patience_begins_anew_with_each_hole",
    ),
    # What is told.
    _notes(
        "commits not told",
        "feed",
        "self._bus.tell(Committed(head, tuple(messages)))",
        "pass",
        "test_what_is_committed_elsewhere_comes_with_the_note_and_without_reading_the_log",
    ),
    _notes(
        "changes of memberships not told",
        "questions",
        "        self._bus.tell(question)  # first",
        "        pass  # first",
        "test_a_join_and_a_leave_elsewhere_take_effect_with_the_note",
    ),
    _notes(
        "read marks not told",
        "service",
        "self._bus.tell(HasRead(user_id))",
        "pass",
        "test_read_marks_are_told_to_the_users_streams_elsewhere",
    ),
    _notes(
        "read marks not looked for",
        "unread",
        "            for user_id in users:\n                self.changed(user_id)\n",
        "",
        "test_read_marks_elsewhere_are_found_though_no_note_tells_of_them",
    ),
    # Ephemeral messages of other nodes.
    _mutant("ephemeral messages taken twice or late", "fan_out", " and passing.first >= taken", ""),
    _notes(
        "ephemeral messages of another hub taken",
        "fan_out",
        "passing.epoch == self._hub.flow.head.epoch and ",
        "",
        "test_ephemeral_messages_of_another_hub_are_left_out",
    ),
    _mutant(
        "more of what others pass on kept than may be",
        "fan_out",
        "if self._waiting >= MAX_HEARD or self._waiting_bytes >= MAX_HEARD_BYTES:",
        "if False:",
        "test_fan_out:test_no_more_of_what_other_nodes_pass_on_waits_than_may",
    ),
    # Shared reads of the log.
    _shared_read("read shared with other users", KEY, KEY.replace("audience.user_id, ", "")),
    _shared_read("read shared with other clients", KEY, KEY.replace("client_id, ", "")),
    _shared_read("read shared with other groups", KEY, KEY.replace("audience.groups, ", "")),
    _shared_read("read shared with others of the group before", KEY, KEY.replace("audience.groups_after, ", "")),
    _shared_read("read shared with other types", KEY, KEY.replace(", audience.event_types", "")),
    _shared_read(
        "read shared with a client that was sent something",
        "self.client_id if self.named_client or self.addressed else None",
        "self.client_id if self.named_client else None",
        test="test_a_client_without_a_name_that_was_sent_something_is_read_for_by_itself",
    ),
    _shared_read(
        "page not given to those who joined the read",
        "enumerate(connections):",
        "enumerate(connections[:1]):",
        module="flow",
        test="test_streams_of_one_audience_that_come_back_together_cost_one_read",
    ),
    _shared_read(
        "failed read given up for its first stream only",
        "            for connection in connections:\n                connection.delivery.read_failed()",
        "            for connection in connections[:1]:\n                connection.delivery.read_failed()",
        module="flow",
        test="test_what_comes_of_a_read_that_fails_is_told_to_all_and_it_is_made_again_for_all",
    ),
    _shared_read(
        "page kept from those after a stream that fails",
        "            except Exception as error:\n                connection.broken(error)",
        "            except ZeroDivisionError as error:\n                connection.broken(error)",
        module="flow",
        test="test_a_stream_that_fails_keeps_no_page_from_the_others",
    ),
    _shared_read(
        "streams that have been read for still counted as waiting",
        "self.waiting_reads -= len(connections)",
        "self.waiting_reads -= 1",
        module="flow",
        test="test_who_leaves_while_it_waits_costs_no_read_and_is_waited_for_no_more",
    ),
    # Admission.
    _mutant("streams that have opened still counted as opening", "opening", "self._opening -= 1", "pass"),
    # Presence.
    _presence(
        "who was not said to be there forgotten",
        "self._changed.update((connection, None) for connection in changed if not connection.closed)",
        "pass",
        "check_failure",
    ),
    _presence("who was not said to be gone forgotten", "self._gone += gone", "pass", "check_failure"),
    _presence("what failed not said again", "except BaseException:", "except ZeroDivisionError:", "check_failure"),
    _presence(
        "who has left said to be there",
        " if not connection.closed)",
        ")",
        "test_who_leaves_while_that_fails_is_not_said_to_be_there_the_next_time",
    ),
    _presence(
        "more than is remembered forgotten",
        "self._begin_again = True",
        "pass",
        "test_more_who_have_left_than_is_remembered_are_gone_all_the_same",
    ),
    _presence(
        "said as long as there is anything to say",
        "for _ in range(0, max(len(self._changed), len(self._gone)), CHANGES_AT_ONCE):",
        "while self._changed or self._gone:",
        "test_however_many_come_and_go_meanwhile_the_lease_is_renewed_in_time",
    ),
    _presence(
        "answers taken for heard that were not",
        "if not (known and heard):",
        "if not known:",
        "test_everything_is_said_again_when_it_was_not_heard_that_it_must_be",
    ),
    _mutant("not said again when the lease had ended", "presence", "dict.fromkeys(self._hub.connections)", "{}"),
    # Disconnecting.
    _question(
        "asked only once",
        "            if asked:\n                self._bus.tell(question)\n",
        "",
        "test_a_node_is_asked_again_and_ends_them_once",
    ),
    _disconnecting(
        "done as often as it is asked",
        "ended = self._done.get(command.question_id)",
        "ended = None",
        "test_who_comes_back_is_not_ended_by_a_note_that_comes_again",
    ),
    _question(
        "not told who is to do it before it is known",
        "        self._bus.tell(question)  # first",
        "        pass  # first",
        "test_other_nodes_are_told_even_if_it_cannot_be_learnt_who_they_are",
    ),
    _question(
        "nodes that are gone waited for",
        " & await self._others())",
        ")",
        "test_a_node_that_is_gone_is_not_waited_for",
    ),
    # Memberships on all nodes.
    _membership(
        "answered before other nodes know of a join",
        "memberships",
        """            epoch = self._feed.changed(Membership(user_id, group, subscription, version))
        await self._known_everywhere(epoch, version)
""",
        "            self._feed.changed(Membership(user_id, group, subscription, version))\n",
        "test_nothing_is_answered_before_the_other_node_knows",
    ),
    _membership(
        "said to be known before it is",
        "feed",
        " and each.version <= known]",
        "]",
        "test_nothing_is_answered_before_the_other_node_knows",
    ),
    _membership(
        "what is known of one log said of another",
        "feed",
        "if each.epoch == epoch and ",
        "if ",
        "test_a_question_about_another_log_is_not_answered",
    ),
    _membership(
        "only answered once there is something to learn",
        "feed",
        "        self._questions.append(question)\n        self._answer()\n",
        "        self._questions.append(question)\n",
        "test_a_node_that_has_learnt_of_it_already_says_so_at_once",
    ),
    # Cached counts.
    _counts(
        "counts taken whatever their stamp",
        "if stamp == stamps[user_id] and not",
        "if not",
        "test_what_was_counted_is_not_counted_again_while_nothing_changes",
    ),
    _counts(
        "counts taken though something has expired",
        " and not _expired(counts, now)\n        }",
        "\n        }",
        "test_what_has_expired_is_counted_no_more_from_the_very_instant",
    ),
    _counts(
        "counts kept with a stamp of after them",
        "            counted |= await self._inbox.unread(new, self._clock.now())\n",
        "",
        "test_what_came_after_the_count_is_not_taken_for_counted",
    ),
    _counts(
        "what has changed meanwhile taken for drift",
        "        if unchanged:\n",
        "        if True:\n",
        "test_what_changes_while_it_is_checked_is_no_drift",
    ),
)
