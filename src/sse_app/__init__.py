"""sse-hub in-process: open a hub, send, listen, mount it in an ASGI application (SPEC §8)."""

from __future__ import annotations

from litestar import Router
from litestar.types import ASGIApp

from sse_adapters.http.app import http_app
from sse_adapters.http.options import HttpOptions
from sse_adapters.http.router import hub_router as _router
from sse_app.container import build_container
from sse_app.in_process import Event, EventStream
from sse_app.node import Node
from sse_app.outbox import TransactionOutbox
from sse_app.sending import draft
from sse_app.service import HubService
from sse_app.settings import Settings, SettingsError, load_settings
from sse_domain.errors import SseError
from sse_domain.message import BROADCAST, Priority, Receiver

__all__ = [
    "BROADCAST",
    "Event",
    "EventStream",
    "HubService",
    "Node",
    "Priority",
    "Receiver",
    "Settings",
    "SettingsError",
    "SseError",
    "TransactionOutbox",
    "draft",
    "hub_asgi",
    "hub_router",
    "load_settings",
    "open_hub",
]


def open_hub(settings: Settings | None = None) -> Node:
    """A hub with all that it needs, to be run by `async with open_hub() as hub`.

    The node's `hub` may be mounted before it runs, and the node given to an application as its lifespan. `settings`
    None means the defaults, whatever the environment says; `load_settings()` reads the environment.
    Raises SettingsError, and on entry StoreUnavailable.
    """
    return build_container(settings or Settings()).node()


def hub_router(hub: HubService, *, prefix: str = HttpOptions().prefix) -> Router:
    """The HTTP API under `prefix`, to be mounted in a Litestar application that keeps `hub` open."""
    return _router(hub, HttpOptions(prefix=prefix))


def hub_asgi(hub: HubService, *, prefix: str = HttpOptions().prefix) -> ASGIApp:
    """The whole HTTP surface, health, OpenAPI and demo page included, to be mounted in any ASGI application."""
    return http_app(hub, HttpOptions(prefix=prefix))
