"""SPEC §3 over the real application, whose awaits overlap at random, against the naive model of the domain's tests.

Of one node, and of several that hear each other's notes late, twice, in any order or not at all.
"""

from __future__ import annotations

import pytest

from tests.unit.app.drained import check_drained
from tests.unit.app.random_history import RandomHistory

HISTORIES = 50
HAPPENINGS = 100


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_every_stream_is_given_exactly_what_it_is_owed(seed: int) -> None:
    check(RandomHistory(seed))


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_and_so_it_is_whatever_becomes_of_the_notes_between_nodes(seed: int) -> None:
    check(of_several_nodes(seed))


def of_several_nodes(seed: int) -> RandomHistory:
    return RandomHistory(seed, nodes=2 + seed % 2, nothing_lost=seed % 3 == 0)


def check_histories() -> None:
    """All of one node as one, for the bugs sown in tests/mutants."""
    for seed in range(HISTORIES):
        check(RandomHistory(seed))


def check_histories_of_several_nodes() -> None:
    for seed in range(HISTORIES):
        check(of_several_nodes(seed))


def check(history: RandomHistory) -> None:
    try:
        history.run(HAPPENINGS)
        check_drained(history.world)
    finally:
        history.world.close()
