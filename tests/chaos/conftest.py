"""What the tests of this folder tell of themselves, with `-v`."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

REPORT = "chaos"
DEFAULT_SECONDS = 40.0
Report = Callable[[str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    chaos = parser.getgroup("chaos")
    chaos.addoption("--seed", type=int, help="of the chaos that mixes all faults; random by default")
    chaos.addoption(
        "--seconds", type=float, default=DEFAULT_SECONDS, help="that faults befall it (default: %(default)s)"
    )


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """For what is random: given, or itself random, and told if the test fails."""
    given: int | None = request.config.getoption("--seed")
    return secrets.randbelow(1_000_000) if given is None else given


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    seconds: float = request.config.getoption("--seconds")
    return seconds


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Takes what a test tells of itself."""

    def note(told: str) -> None:
        record_property(REPORT, told)

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = [
        (report.nodeid.rpartition("::")[2], value)
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == REPORT and report.when == "call"
    ]
    if reports and config.get_verbosity() > 0:
        terminalreporter.section("chaos")
        for test, told in reports:
            terminalreporter.write_line(f"{test}: {told}")
