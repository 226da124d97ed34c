"""Bugs sown into the outbox, each of which a test of its must find: in the relay, and in two of the stores.

A module is run from its source with a line changed, and what is in it put in the place of the real thing.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sse_adapters.sql import SqlStore
from sse_app.outbox import OutboxRelay
from sse_domain.errors import SseError
from tests.integration.contracts import test_outbox as contract
from tests.support.clock import ManualClock
from tests.support.stores import STORES, Publisher, open_callers_engine
from tests.unit.app import test_outbox as relaying
from tests.unit.app.conftest import FakeClock, start_parts


@dataclass(frozen=True, kw_only=True)
class Bug:
    """In `module`, `old` becomes `new`; `witness`, called with `parameters` and what it asks for, must notice."""

    module: str
    old: str
    new: str
    witness: str
    parameters: dict[str, Any] = field(default_factory=dict)
    store: str = "sqlite"

    def sown(self) -> ModuleType:
        """The module with the bug, known to nobody else."""
        spec = importlib.util.find_spec(self.module)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).read_text(encoding="utf-8")
        assert source.count(self.old) == 1, f"{self.old!r} stands {source.count(self.old)} times in {self.module}"
        module = ModuleType(self.module)
        exec(compile(source.replace(self.old, self.new), spec.origin, "exec"), module.__dict__)  # noqa: S102 - our own
        return module


COMMITTED = "test_what_is_committed_is_in_the_log_once_and_in_order"
SAVEPOINT = "test_a_savepoint_that_is_rolled_back_takes_what_came_after_it"

STORE_BUGS = {
    "a relay leaves what it has moved": Bug(
        module="sse_adapters.sql.outbox",
        old='await connection.execute(_REMOVE, {"ids": listed([row["id"] for row in rows])})',
        new="pass",
        witness=COMMITTED,
    ),
    "the last one first": Bug(
        module="sse_adapters.sql.outbox",
        old="_NEXT = select(outbox).order_by(outbox.c.id)",
        new="_NEXT = select(outbox).order_by(outbox.c.id.desc())",
        witness=COMMITTED,
    ),
    "moved in two transactions": Bug(
        module="sse_adapters.sql.outbox",
        old="            await connection.execute(_REMOVE",
        new="            await connection.exec_driver_sql('COMMIT')\n"
        "            await connection.exec_driver_sql('BEGIN IMMEDIATE')\n            await connection.execute(_REMOVE",
        witness="test_a_relay_that_fails_at_its_end_loses_nothing_and_doubles_nothing",
    ),
    "looked before the lock": Bug(
        module="sse_adapters.sql.outbox",
        old="_LOCK_LOG = select(log).with_for_update()",
        new="_LOCK_LOG = select(log)",
        witness="test_a_relay_looks_at_what_waits_only_when_no_other_can_be_at_it",
        store="postgresql",
    ),
    "event_id not looked for": Bug(
        module="sse_adapters.sql.outbox",
        old="if entry.may_repeat:",
        new="if False:",
        witness="test_an_event_id_that_the_log_has_is_settled_at_once",
    ),
    "commit not told of": Bug(
        module="sse_adapters.sql.outbox",
        old="self._listen(connection.sync_connection, committing)",
        new="pass",
        witness="test_whoever_put_something_in_is_told_of_the_commit",
    ),
    "taken before the commit": Bug(
        module="sse_adapters.memory.outbox",
        old="self._levels[-1].append(entry)",
        new="self._waiting.append(entry)",
        witness=COMMITTED,
        store="memory",
    ),
    "rolled back and sent with the next": Bug(
        module="sse_adapters.memory.outbox",
        old="def _rollback(self, connection: Connection) -> None:\n        self._begin()",
        new="def _rollback(self, connection: Connection) -> None:\n        pass",
        witness="test_transactions_one_after_another_are_each_for_themselves",
        store="memory",
    ),
    "rolled back to a savepoint and sent": Bug(
        module="sse_adapters.memory.outbox",
        old="        self._leave_savepoint()\n\n",
        new="        self._levels[0] += self._leave_savepoint()\n\n",
        witness=SAVEPOINT,
        parameters={"steps": "a(b!c", "committed": "ac"},
        store="memory",
    ),
    "released with a savepoint and lost": Bug(
        module="sse_adapters.memory.outbox",
        old="self._levels[-1] += released",
        new="pass",
        witness=SAVEPOINT,
        parameters={"steps": "a(b)c", "committed": "abc"},
        store="memory",
    ),
}

RELAY_BUGS = {
    "feed's turn not held": Bug(
        module="sse_app.outbox",
        old="async with self._feed.turn:\n                appended",
        new="if True:\n                appended",
        witness="test_nothing_comes_between_a_relays_commit_and_its_streams",
    ),
    "full transaction taken for the last": Bug(
        module="sse_app.outbox",
        old="while not self._stopped and await self._outbox.waiting():",
        new="if not self._stopped and await self._outbox.waiting():",
        witness="test_everything_that_waits_is_moved_in_bounded_transactions_and_given_to_streams",
    ),
    "moved but not applied": Bug(
        module="sse_app.outbox",
        old="await self._feed.apply(head, [a.message for a in appended if a.outcome is Outcome.NEW])",
        new="pass",
        witness="test_everything_that_waits_is_moved_in_bounded_transactions_and_given_to_streams",
    ),
    "relay goes on when stopped": Bug(
        module="sse_app.outbox",
        old="        self._stopped = True\n",
        new="",
        witness="test_stopping_finishes_the_relay_that_is_under_way_and_begins_no_other",
    ),
}


@pytest.fixture
async def surroundings(bug: Bug, tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """What the tests of a store's outbox ask for."""
    clock = ManualClock()
    async with (
        STORES[bug.store](tmp_path) as store,
        open_callers_engine(store, tmp_path) as engine,
        engine.connect() as caller,
    ):
        publish = Publisher(store, clock)
        yield {"store": store, "engine": engine, "caller": caller, "publish": publish, "clock": clock}


def sow(bug: Bug, store: Any) -> None:
    module = bug.sown()
    if isinstance(store, SqlStore):
        store.outbox = module.SqlOutbox(store._connections)
    else:
        store.outbox = module.MemoryOutbox(store.log)


async def run(module: ModuleType, bug: Bug, available: dict[str, Any]) -> None:
    witness = getattr(module, bug.witness)
    given = available | bug.parameters
    await witness(**{name: given[name] for name in inspect.signature(witness).parameters})


# A witness that finds out in vain whether something was raised fails, and what the database refuses is an error.
SEEN = (AssertionError, SseError, pytest.fail.Exception)


@pytest.mark.parametrize("bug", STORE_BUGS.values(), ids=[name.replace(" ", "-") for name in STORE_BUGS])
async def test_a_bug_in_a_store_is_seen(bug: Bug, surroundings: dict[str, Any]) -> None:
    sow(bug, surroundings["store"])
    with pytest.raises(SEEN):
        await run(contract, bug, surroundings)


@pytest.mark.parametrize("bug", STORE_BUGS.values(), ids=[name.replace(" ", "-") for name in STORE_BUGS])
async def test_the_store_without_it_is_fine(bug: Bug, surroundings: dict[str, Any]) -> None:
    await run(contract, bug, surroundings)


@pytest.mark.parametrize("sown", [True, False], ids=["sown", "without-it"])
@pytest.mark.parametrize("bug", RELAY_BUGS.values(), ids=[name.replace(" ", "-") for name in RELAY_BUGS])
async def test_a_bug_in_the_relay_is_seen_and_none_without_it(bug: Bug, sown: bool) -> None:
    clock = FakeClock()
    node = await start_parts(clock)
    fake = relaying.FakeOutbox(node)
    relay_type = bug.sown().OutboxRelay if sown else OutboxRelay
    available = {"node": node, "fake": fake, "relay": relay_type(fake, node.container.feed(), clock)}
    if not sown:
        await run(relaying, bug, available)
        return
    with pytest.raises(SEEN):
        await run(relaying, bug, available)
