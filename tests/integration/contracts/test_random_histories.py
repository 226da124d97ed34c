"""Inbox, as a whole: after any history, every store says what a naive model of SPEC §4 says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.contracts.histories import History, steps
from tests.integration.contracts.random_examples import bounded
from tests.support.stores import STORES


@pytest.mark.parametrize("name", STORES)
@bounded
@given(history_steps=st.lists(steps, min_size=4, max_size=25))
async def test_every_store_agrees_with_the_naive_model(
    name: str, tmp_path_factory: pytest.TempPathFactory, history_steps: list[tuple[Any, ...]]
) -> None:
    async with STORES[name](tmp_path_factory.mktemp("store")) as store:
        history = History(store)
        for step, *arguments in history_steps:
            await getattr(history, step)(*arguments)
            await history.compare()
        await history.compare_at_each_expiry()
