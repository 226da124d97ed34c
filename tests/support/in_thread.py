"""Awaits something for a caller that can't: one in synchronous code, under which an event loop may be running."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")


def in_thread(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """What it returns, run on an event loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
