"""An invariant's test counts only once it has been seen to fail: each seeded bug turns its witness red.

The same run on the unpatched code is green, so it is the bug that the witness sees.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, nullcontext
from importlib import import_module
from inspect import isawaitable, iscoroutinefunction, signature
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.mutants.app_mutants import APP_MUTANTS
from tests.mutants.cluster_mutants import CLUSTER_MUTANTS
from tests.mutants.exactness_mutants import EXACTNESS_MUTANTS
from tests.mutants.mutants import MUTANTS
from tests.mutants.patched import Mutant, patched
from tests.mutants.supervisor_mutants import SUPERVISOR_MUTANTS

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


# What tests ask for, by the name of the parameter, from modules that `get` imports: to be awaited, or entered.
GIVEN: dict[str, Callable[[Callable[[str], Any]], Any]] = {
    "node": lambda get: get("conftest").start_parts(get("conftest").FakeClock()),
    "nodes": lambda get: get("two_nodes").two_nodes(),
    "counting": lambda get: nullcontext(get("test_unread_counts").Counting()),
}

EVERY = (*MUTANTS, *APP_MUTANTS, *CLUSTER_MUTANTS, *EXACTNESS_MUTANTS, *SUPERVISOR_MUTANTS)


@pytest.fixture(scope="module", autouse=True)
def loose_ends_go_unlogged() -> Iterator[None]:
    """Failed tasks that a seeded bug left to nobody are not logged as they are collected.

    The log would parse source for the traceback, perhaps in the midst of `ast.parse` as a test module is imported,
    which up to Python 3.11.7 then fails: "AST constructor recursion depth mismatch" (python/cpython#106905).
    """
    asyncio_log = logging.getLogger("asyncio")
    asyncio_log.disabled = True
    yield
    gc.collect()
    asyncio_log.disabled = False


def run(tests: str, witness: str) -> None:
    """Run a test as the current imports make it: a state machine, or a function that takes nothing but GIVEN."""
    module, name = witness.split(":")
    test = getattr(import_module(f"{tests}.{module}"), name)
    if isinstance(test, type) and issubclass(test, RuleBasedStateMachine):
        run_state_machine_as_test(test, settings=HUNT)
    elif iscoroutinefunction(test):
        asyncio.run(run_in_loop(tests, test))
    else:
        test()


async def run_in_loop(tests: str, test: Callable[..., Awaitable[None]]) -> None:
    async with AsyncExitStack() as stack:
        given: dict[str, object] = {}
        for name, parameter in signature(test).parameters.items():
            if parameter.default is not parameter.empty:
                continue
            if name == "monkeypatch":
                given[name] = stack.enter_context(pytest.MonkeyPatch.context())
            else:
                made = GIVEN[name](lambda module: import_module(f"{tests}.{module}"))
                given[name] = await (made if isawaitable(made) else stack.enter_async_context(made))
        await test(**given)


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
