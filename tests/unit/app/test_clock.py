"""A node goes by its store's clock, not by its machine's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sse_app.clock import StoreClock, SystemClock
from sse_domain.errors import StoreUnavailable
from sse_domain.ports import StoreTime

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Machine(SystemClock):
    """A machine's clock, `ahead` of the true time, which `passed` seconds ago was noon."""

    def __init__(self, ahead: timedelta) -> None:
        super().__init__()
        self.ahead = ahead
        self.passed = 0.0

    def machine_time(self) -> datetime:
        return NOON + timedelta(seconds=self.passed) + self.ahead

    def monotonic(self) -> float:
        return 500.0 + self.passed


class Server(StoreTime):
    """It takes `delay` seconds to be asked, and as many to answer."""

    def __init__(self, machine: Machine, delay: float = 0.0) -> None:
        self.delay = delay
        self.lies = timedelta()
        self._machine = machine

    async def now(self) -> datetime | None:
        self._machine.passed += self.delay
        instant = NOON + timedelta(seconds=self._machine.passed)
        self._machine.passed += self.delay
        return instant + self.lies


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1), timedelta(seconds=0.4)])
async def test_a_wrong_clock_is_set_and_stays_right(ahead: timedelta) -> None:
    machine = Machine(ahead)
    assert machine.now() == NOON + ahead
    await StoreClock(Server(machine, delay=0.05), machine).adjust()
    assert machine.now() == NOON + timedelta(seconds=0.1)
    machine.passed += 60
    machine.ahead = timedelta(days=1)  # somebody sets the machine's
    assert machine.now() == NOON + timedelta(seconds=60.1)


async def test_a_clock_that_may_be_right_is_let_alone() -> None:
    machine = Machine(timedelta(seconds=0.04))
    await StoreClock(Server(machine, delay=0.05), machine).adjust()
    assert machine.now() - machine.machine_time() == timedelta()


async def test_a_store_without_a_clock_leaves_the_machine_s() -> None:
    class Embedded(StoreTime):
        async def now(self) -> None:
            return None

    machine = Machine(timedelta(hours=1))
    await StoreClock(Embedded(), machine).adjust()
    assert machine.now() == machine.machine_time()


async def test_when_the_store_does_not_answer_the_clock_goes_on() -> None:
    machine = Machine(timedelta(hours=1))
    server = Server(machine)
    clock = StoreClock(server, machine)
    await clock.adjust()

    class Gone(StoreTime):
        async def now(self) -> datetime | None:
            raise StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable):
        await StoreClock(Gone(), machine).adjust()
    machine.passed += 5
    assert machine.now() == NOON + timedelta(seconds=5)


async def test_a_wrong_machine_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(timedelta(hours=1))
    clock = StoreClock(Server(machine), machine)
    await clock.adjust()
    await clock.adjust()
    [warning] = caplog.messages
    assert warning == "this machine's clock is +3600.0 s from the database's, which is used"
