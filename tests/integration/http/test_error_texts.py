"""An error says what may be given instead, in the request's own names and spellings."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.http import HubApi

GOOD: dict[str, Any] = {"user_id": "u1", "event_type": "t", "data": 1}
ONE_OF_TWO = "exactly one of user_id and client_id must be given"
PRIORITIES = 'must be one of 0, 1, 2, "normal", "high", "urgent"'


@pytest.mark.parametrize(
    ("path", "body", "field", "told"),
    [
        ("/send", GOOD | {"client_id": "c1"}, "receiver", ONE_OF_TWO),
        ("/send", GOOD | {"user_id": None}, "receiver", ONE_OF_TWO),
        ("/disconnect", {}, "receiver", ONE_OF_TWO),
        ("/messages/read", {"user_id": "u"}, "selection", "exactly one of event_ids, up_to and all must be given"),
        ("/messages/read", {"user_id": "u", "all": False}, "all", "must be true"),
        ("/send", GOOD | {"priority": 3}, "priority", PRIORITIES),
        ("/broadcast", {"event_type": "t", "data": 1, "priority": "HIGH"}, "priority", PRIORITIES),
    ],
)
async def test_what_may_be_given_is_told(api: HubApi, path: str, body: dict[str, Any], field: str, told: str) -> None:
    problem = (await api.post(path, body)).json()
    assert (problem["errors"], problem["detail"]) == ([{"field": field, "detail": told}], f"{field}: {told}")


@pytest.mark.parametrize(
    ("wrong", "field", "told"),
    [
        ({"to": {}}, "to", "exactly one of user_id, client_id, group and broadcast must be given"),
        ({"to": {"broadcast": False}}, "to.broadcast", "must be true"),
        ({"to": {"broadcast": True}, "priority": 7}, "priority", PRIORITIES),
    ],
    ids=str,
)
async def test_what_may_be_given_is_told_in_a_batch(api: HubApi, wrong: dict[str, Any], field: str, told: str) -> None:
    [result] = await api.send_batch([{"event_type": "t", "data": 1} | wrong])
    assert result["error"]["errors"] == [{"field": field, "detail": told}]
