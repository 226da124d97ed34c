"""The OpenAPI document: valid, complete, and true to its own examples."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from litestar.routes import HTTPRoute
from schemathesis.specs.openapi.definitions import OPENAPI_31

from sse_adapters.http.health import health_router
from sse_adapters.http.openapi import document
from sse_adapters.http.operation import OPT_KEY
from sse_adapters.http.router import hub_router
from sse_app import Settings, open_hub

HUB = open_hub(Settings(database_url="memory://")).hub
ROUTERS = [hub_router(HUB), health_router(HUB)]
DOCUMENT = document(ROUTERS)
OPERATIONS = [
    pytest.param(operation, id=f"{method} {path}")
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def schema(part: dict[str, Any]) -> dict[str, Any]:
    """A schema of the document as one that stands by itself."""
    return part | {"components": DOCUMENT["components"]}


def test_it_is_openapi_3_1() -> None:
    jsonschema_rs.validator_for(OPENAPI_31).validate(DOCUMENT)


def test_it_names_every_call_of_the_specification() -> None:
    prefix = "/api/v1/sse"
    assert {(method, path) for path, item in DOCUMENT["paths"].items() for method in item} == {
        ("get", f"{prefix}/stream"),
        ("get", f"{prefix}/stream/{{user_id}}"),
        ("get", f"{prefix}/stream/{{group}}/{{user_id}}"),
        ("post", f"{prefix}/send"),
        ("post", f"{prefix}/send/group"),
        ("post", f"{prefix}/broadcast"),
        ("post", f"{prefix}/send/batch"),
        ("get", f"{prefix}/messages"),
        ("get", f"{prefix}/messages/pending"),
        ("post", f"{prefix}/messages/read"),
        ("get", f"{prefix}/messages/unread"),
        ("post", f"{prefix}/subscribe"),
        ("post", f"{prefix}/unsubscribe"),
        ("get", f"{prefix}/subscriptions"),
        ("get", f"{prefix}/info"),
        ("get", f"{prefix}/group/{{group}}"),
        ("get", f"{prefix}/clients"),
        ("get", f"{prefix}/online"),
        ("post", f"{prefix}/disconnect/{{client_id}}"),
        ("post", f"{prefix}/disconnect"),
        ("get", "/health/live"),
        ("get", "/health/ready"),
    }


def test_no_route_is_left_out() -> None:
    routes = [route for router in ROUTERS for route in router.routes]
    routed = {r.path_format for r in routes if isinstance(r, HTTPRoute) or OPT_KEY in r.route_handler.opt}
    assert routed <= DOCUMENT["paths"].keys()


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_is_told_in_full_with_true_examples(operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    examples = [
        (parameter["schema"], parameter["example"])
        for parameter in operation["parameters"]
        if parameter["in"] == "query"
    ]
    for status, answer in operation["responses"].items():
        assert answer["description"]
        for media_type, content in answer.get("content", {}).items():
            examples.append((content["schema"], content["example"]))
            assert (media_type == "application/problem+json") == (
                int(status) >= 400 and "Problem" in content["schema"]["$ref"]
            )
    for content in operation.get("requestBody", {"content": {}})["content"].values():
        assert content["examples"]
        examples += [(content["schema"], example["value"]) for example in content["examples"].values()]
    assert examples
    for part, example in examples:
        jsonschema_rs.validator_for(schema(part)).validate(example)
