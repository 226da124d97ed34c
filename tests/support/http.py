"""The REST calls of SPEC §2 as tests make them: JSON in, JSON out, and any other status fails the test."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx

API_PREFIX = "/api/v1/sse"
_TIMEOUT_SECONDS = 60.0

JsonObject = dict[str, Any]


class HubApi:
    """The API of one node. Open it with `open_api`.

    `get` and `post` give the response as it is, for tests of statuses and problems; the named calls give the
    JSON of a successful answer and raise `AssertionError` otherwise. Optional fields go by the names of the
    API.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str, **params: Any) -> httpx.Response:
        """GET below the prefix; a list repeats its parameter, None leaves it out."""
        present = {name: value for name, value in params.items() if value is not None}
        return await self.client.get(API_PREFIX + path, params=present)

    async def post(self, path: str, body: Any) -> httpx.Response:
        """POST a JSON body below the prefix."""
        return await self.client.post(API_PREFIX + path, json=body)

    async def send(self, event_type: str, data: Any, **fields: Any) -> JsonObject:
        """Send to the `user_id` or `client_id` among `fields`; also 200, the answer to a repeat, is a
        success.
        """
        return await self._posted("/send", {"event_type": event_type, "data": data} | fields)

    async def send_to_group(self, group: str, event_type: str, data: Any, **fields: Any) -> JsonObject:
        """Send to a group."""
        message = {"group": group, "event_type": event_type, "data": data}
        return await self._posted("/send/group", message | fields)

    async def broadcast(self, event_type: str, data: Any, **fields: Any) -> JsonObject:
        """Send to everyone."""
        return await self._posted("/broadcast", {"event_type": event_type, "data": data} | fields)

    async def send_batch(self, messages: list[JsonObject]) -> list[JsonObject]:
        """Send many, each with its `to`; the results in order, problems among them."""
        results: list[JsonObject] = (await self._posted("/send/batch", {"messages": messages}))["results"]
        return results

    async def messages(self, user_id: str, **filters: Any) -> JsonObject:
        """One page of the user's visible messages: `messages` and `next`."""
        return _decoded(await self.get("/messages", user_id=user_id, **filters))

    async def pending(self, user_id: str, **filters: Any) -> JsonObject:
        """One page of what no stream of the user has been given yet: `messages` and `next`."""
        return _decoded(await self.get("/messages/pending", user_id=user_id, **filters))

    async def unread(self, user_id: str) -> JsonObject:
        """The user's unread counts."""
        return _decoded(await self.get("/messages/unread", user_id=user_id))

    async def mark_read(self, user_id: str, **selection: Any) -> JsonObject:
        """Mark read by `event_ids`, `up_to` or `all`: `marked` and the `unread` counts after."""
        return await self._posted("/messages/read", {"user_id": user_id} | selection)

    async def subscribe(self, user_id: str, group: str, event_types: list[str] | None = None) -> JsonObject:
        """Subscribe a user to a group, durably."""
        subscription = {"user_id": user_id, "group": group, "event_types": event_types}
        return await self._posted("/subscribe", subscription)

    async def unsubscribe(self, user_id: str, group: str) -> JsonObject:
        """End a subscription."""
        return await self._posted("/unsubscribe", {"user_id": user_id, "group": group})

    async def info(self) -> JsonObject:
        """The node's own account of itself."""
        return _decoded(await self.get("/info"))

    async def disconnect(self, client_id: str, *, reconnect: bool = False) -> JsonObject:
        """End a client's streams on every node."""
        return await self._posted(f"/disconnect/{quote(client_id, safe='')}", {"reconnect": reconnect})

    async def _posted(self, path: str, body: JsonObject) -> JsonObject:
        return _decoded(await self.post(path, body))


@asynccontextmanager
async def open_api(base_url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[HubApi]:
    """The API of the node at `base_url`; `headers` are sent with every call."""
    async with httpx.AsyncClient(
        base_url=base_url, headers=dict(headers or {}), timeout=_TIMEOUT_SECONDS, trust_env=False
    ) as client:
        yield HubApi(client)


def _decoded(response: httpx.Response) -> JsonObject:
    request = response.request
    answer = f"{response.status_code}: {response.text}"
    assert response.is_success, f"{request.method} {request.url} was answered {answer}"
    decoded: JsonObject = response.json()
    return decoded
