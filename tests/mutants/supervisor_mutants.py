"""The seeded bugs of the supervisor."""

from __future__ import annotations

from functools import partial

from tests.mutants.patched import Mutant

SupervisorMutant = partial(Mutant, module="supervisor", package="sse_app")

SUPERVISOR_MUTANTS = (
    SupervisorMutant(
        "the end of a replaced worker taken for a death",
        old="if place.worker is not worker:",
        new="if False:",
        witness="test_supervisor:test_workers_are_replaced_one_after_the_other_and_each_serves_before_the_one_before_it_goes",
    ),
    SupervisorMutant(
        "successors not watched",
        old="            group.create_task(self._keep(place))\n            await self._retire",
        new="            await self._retire",
        witness="test_supervisor:test_workers_are_replaced_one_after_the_other_and_each_serves_before_the_one_before_it_goes",
    ),
    SupervisorMutant(
        "all predecessors told to go at once",
        old="await self._retire(predecessor)",
        new="group.create_task(self._retire(predecessor))",
        witness="test_supervisor:test_workers_are_replaced_one_after_the_other_and_each_serves_before_the_one_before_it_goes",
    ),
    SupervisorMutant(
        "a death while a successor starts followed twice",
        old="            async with place.lock:\n                predecessor",
        new="            if True:\n                predecessor",
        witness="test_supervisor:test_a_worker_that_dies_while_its_successor_starts_is_followed_by_that_one_alone",
    ),
    SupervisorMutant(
        "replacing goes on after a failure",
        old='nor are those after it: %s", place.number, error)\n                    return',
        new='nor are those after it: %s", place.number, error)\n                    continue',
        witness="test_supervisor:test_a_successor_that_fails_leaves_all_others_as_they_are",
    ),
    SupervisorMutant(
        "the pause never short again",
        old="place.pause = FIRST_PAUSE_SECONDS\n                log",
        new="pass\n                log",
        witness="test_supervisor:test_the_pause_grows_while_workers_end_soon_and_is_short_again_after_one_that_lived",
    ),
    SupervisorMutant(
        "the pause not grown",
        old="min(2 * place.pause, LONGEST_PAUSE_SECONDS)",
        new="place.pause",
        witness="test_supervisor:test_the_pause_grows_while_workers_cannot_start",
    ),
    SupervisorMutant(
        "a dead worker's socket kept",
        old="            self._workers.release(place.number)\n",
        new="",
        witness="test_supervisor:test_a_worker_that_dies_is_followed_and_the_others_are_left_alone",
    ),
    SupervisorMutant(
        "the others left running when one cannot start",
        old="            orderly = await self._end()",
        new="            orderly = working.cancelled() and await self._end()",
        witness="test_supervisor:test_a_worker_that_cannot_start_at_first_ends_the_whole_with_its_reason",
    ),
    SupervisorMutant(
        "who must be killed taken for orderly",
        old="orderly = not self._running",
        new="orderly = True",
        witness="test_supervisor:test_who_does_not_end_in_time_is_killed_and_that_is_said",
    ),
    SupervisorMutant(
        "a second interrupt not passed on",
        old="            self._signal(self._running, signal.SIGINT)\n",
        new="",
        witness="test_supervisor:test_a_second_interrupt_hurries",
    ),
)
