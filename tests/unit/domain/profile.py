"""How Hypothesis runs here: the same examples on every run, on every machine, without a time limit on one."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

MACHINE = settings(
    max_examples=200,
    stateful_step_count=50,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
PROPERTY = settings(max_examples=100, derandomize=True, database=None, deadline=None)
