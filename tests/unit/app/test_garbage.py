"""Garbage is collected a little at a time, and all of it in the end."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from sse_app.garbage import StepwiseCollector


class Thing:
    """Something that may hold itself."""

    itself: Thing | None = None


@pytest.fixture(autouse=True)
def no_other_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


def garbage() -> weakref.ref[Thing]:
    thing = Thing()
    thing.itself = thing
    return weakref.ref(thing)


def test_what_is_new_is_looked_at() -> None:
    collector = StepwiseCollector()
    collector.step()
    thing = garbage()
    collector.step()
    assert thing() is None


def test_what_has_lived_is_not_looked_at_again() -> None:
    collector = StepwiseCollector()
    things = [Thing() for _ in range(1000)]
    collector.step()
    assert not {id(thing) for thing in things} & {id(tracked) for tracked in gc.get_objects()}


def test_what_became_garbage_after_is_found_once_there_is_too_much() -> None:
    collector = StepwiseCollector(slack=0)
    collector.step()
    known = gc.get_freeze_count()
    things = [Thing() for _ in range(1000)]
    collector.step()
    kept = weakref.ref(things[0])
    for thing in things:
        thing.itself = thing
    del things, thing
    collector.step()
    assert kept() is not None, "out of sight"
    many = [Thing() for _ in range(known + 10_000)]
    collector.step()
    assert kept() is None
    assert many
