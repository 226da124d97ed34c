"""An invariant's test counts only once it has been seen to fail: each seeded bug turns its witness red.

The same run on the unpatched source is green, so it is the bug that the witness sees.
"""

from __future__ import annotations

from importlib import import_module

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.mutants.application_mutants import APPLICATION_MUTANTS
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


ALL = (*MUTANTS, *APPLICATION_MUTANTS)


def run(package: str, witness: str) -> None:
    """Run a package's test as the current imports make it: a state machine, or a plain function."""
    module, name = witness.split(":")
    test = getattr(import_module(f"tests.unit.{package.removeprefix('sse_')}.{module}"), name)
    if isinstance(test, type) and issubclass(test, RuleBasedStateMachine):
        run_state_machine_as_test(test, settings=HUNT)
    else:
        test()


@pytest.mark.parametrize("mutant", ALL, ids=str)
def test_a_seeded_bug_is_seen(mutant: Mutant) -> None:
    with patched(mutant.package, mutant), pytest.raises(AssertionError):
        run(mutant.package, mutant.witness)


@pytest.mark.parametrize(("package", "witness"), sorted({(mutant.package, mutant.witness) for mutant in ALL}))
def test_the_witness_is_green_without_a_bug(package: str, witness: str) -> None:
    with patched(package, None):
        run(package, witness)


def test_a_patch_that_no_longer_fits_is_refused() -> None:
    stale = Mutant("stale", "delivery", "a line that was rewritten since", "")
    with pytest.raises(LookupError), patched(stale.package, stale):
        pass
