"""An invariant's test counts only once it has been seen to fail: each seeded bug turns its witness red.

The same run on the unpatched code is green, so it is the bug that the witness sees.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from inspect import iscoroutinefunction

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.mutants.app_mutants import APP_MUTANTS
from tests.mutants.exactness_mutants import EXACTNESS_MUTANTS
from tests.mutants.mutants import MUTANTS
from tests.mutants.patched import Mutant, patched

# Finding a failure is enough: no time goes into shrinking it.
HUNT = settings(
    max_examples=200,
    stateful_step_count=50,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


EVERY = (*MUTANTS, *APP_MUTANTS, *EXACTNESS_MUTANTS)


def run(tests: str, witness: str) -> None:
    """Run a test as the current imports make it: a state machine, or a function that takes nothing."""
    module, name = witness.split(":")
    test = getattr(import_module(f"{tests}.{module}"), name)
    if isinstance(test, type) and issubclass(test, RuleBasedStateMachine):
        run_state_machine_as_test(test, settings=HUNT)
    elif iscoroutinefunction(test):
        asyncio.run(test())
    else:
        test()


@pytest.mark.parametrize("mutant", EVERY, ids=str)
def test_a_seeded_bug_is_seen(mutant: Mutant) -> None:
    with patched(mutant.package, mutant) as tests, pytest.raises((AssertionError, pytest.fail.Exception)):
        run(tests, mutant.witness)


@pytest.mark.parametrize(("package", "witness"), sorted({(mutant.package, mutant.witness) for mutant in EVERY}))
def test_the_witness_is_green_without_a_bug(package: str, witness: str) -> None:
    with patched(package, None) as tests:
        run(tests, witness)


def test_a_patch_that_no_longer_fits_is_refused() -> None:
    stale = Mutant("stale", "delivery", "a line that was rewritten since", "")
    with pytest.raises(LookupError), patched("sse_domain", stale):
        pass
