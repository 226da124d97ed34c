"""The hub as an application of its own: the router, and what SPEC §2 puts outside the prefix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from litestar import Litestar
from litestar.config.cors import CORSConfig

from sse_adapters.http.health import health_router
from sse_adapters.http.openapi import document
from sse_adapters.http.options import HttpOptions
from sse_adapters.http.pages import page_routes
from sse_adapters.http.problems import EXCEPTION_HANDLERS
from sse_adapters.http.router import hub_router
from sse_domain.api import PushService

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]] | AbstractAsyncContextManager[None]


def http_app(
    service: PushService, options: HttpOptions | None = None, *, lifespan: Sequence[Lifespan] = ()
) -> Litestar:
    """The whole HTTP service for this hub: the API, health, OpenAPI with its page, and the test page.

    `lifespan`: what to enter at start and leave at stop, in order, as Litestar takes it.
    """
    options = options or HttpOptions()
    cors = CORSConfig(
        allow_origins=list(options.cors_origins),
        allow_methods=["GET", "HEAD", "POST", "OPTIONS"],
        allow_headers=["authorization", "content-type", "last-event-id"],
        expose_headers=["retry-after"],
        allow_credentials=True,
    )
    routes = [hub_router(service, options), health_router(service)]
    return Litestar(
        route_handlers=[*routes, *page_routes(options.prefix, document(routes))],
        cors_config=cors if options.cors_origins else None,
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=list(lifespan),
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
