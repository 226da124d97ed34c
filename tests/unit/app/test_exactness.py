"""SPEC §3 over the real application, whose awaits overlap at random, against the naive model of the domain's tests."""

from __future__ import annotations

import pytest

from tests.unit.app.drained import check_drained
from tests.unit.app.random_history import RandomHistory

HISTORIES = 50
HAPPENINGS = 100


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_every_stream_is_given_exactly_what_it_is_owed(seed: int) -> None:
    check(seed)


def check_histories() -> None:
    """All of them as one, for the bugs sown in tests/mutants."""
    for seed in range(HISTORIES):
        check(seed)


def check(seed: int) -> None:
    history = RandomHistory(seed)
    try:
        history.run(HAPPENINGS)
        check_drained(history.world)
    finally:
        history.world.close()
