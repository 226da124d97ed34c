"""The seeded bugs of the application."""

from __future__ import annotations

from functools import partial

from tests.mutants.patched import Mutant

AppMutant = partial(Mutant, package="sse_app")

INTERLEAVED = "test_other_nodes:test_no_message_beyond_a_join_is_missed_whatever_the_interleaving"

APP_MUTANTS = (
    # What other nodes change.
    AppMutant(
        "memberships not learned before messages", "feed", "await self._learn(head.memberships)", "pass", INTERLEAVED
    ),
    AppMutant(
        "memberships learned after messages",
        "feed",
        """        await self._learn(head.memberships)
        counts = await self._read_up_to((messages[0].seq or 0) - 1 if messages else head.seq)
        return counts | await self._publish(messages)
""",
        """        counts = await self._read_up_to((messages[0].seq or 0) - 1 if messages else head.seq)
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
        "head.seq > self._hub.flow.head.seq or head.memberships > self._memberships",
        "head.seq > self._hub.flow.head.seq",
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
)
