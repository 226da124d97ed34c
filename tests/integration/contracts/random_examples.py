"""How many examples a random test runs over each store, and how."""

from __future__ import annotations

from hypothesis import Phase, settings

# The same examples on every run. Not shrunk, for over a database that takes minutes: to study a failure, add
# Phase.shrink here.
bounded = settings(max_examples=40, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
