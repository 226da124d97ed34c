"""The API against its own OpenAPI document: made-up valid and invalid requests, answers as documented, no 5xx."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import negative_data_rejection

from sse_adapters.http.app import http_app
from sse_adapters.http.health import health_router
from sse_adapters.http.openapi import document
from sse_adapters.http.router import hub_router
from sse_app import Settings, open_hub
from tests.integration.http.serving import serve

_OFFLINE = open_hub(Settings(database_url="memory://")).hub
SCHEMA = schemathesis.openapi.from_dict(document([hub_router(_OFFLINE), health_router(_OFFLINE)]))
OPERATIONS: list[APIOperation[Any, Any, Any, Any]] = [
    result.ok()
    for result in SCHEMA.get_all_operations()
    if isinstance(result, Ok) and "/stream" not in result.ok().path  # a stream does not end by itself
]


CALLS = [
    pytest.param(operation, mode, id=f"{operation.label} {mode.value}")
    for operation in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE
    or operation.body
    or any(operation.iter_parameters())  # else nothing can be wrong
]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """The hub in a thread of its own: schemathesis calls it synchronously."""
    loop = asyncio.new_event_loop()
    started: list[str] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with open_hub(Settings(database_url="memory://")) as hub, serve(http_app(hub)) as url:
            started.append(url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert ready.wait(10)
    yield started[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.mark.parametrize(("operation", "mode"), CALLS)
def test_every_call_keeps_to_the_document(
    base_url: str, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode
) -> None:
    @settings(
        max_examples=30,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case[Any]) -> None:
        # A batch is taken although some of its messages are wrong: each of these fails alone (SPEC §2).
        in_place: list[Any] = [negative_data_rejection] if operation.path.endswith("/batch") else []
        case.call_and_validate(base_url=base_url, excluded_checks=in_place)

    check()
