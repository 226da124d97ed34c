"""The hub's HTTP face as one Litestar router: served by `http_app`, or mounted in an application of its user's."""

from __future__ import annotations

from litestar import Router
from litestar.di import Provide

from sse_adapters.http.administration import AdministrationController
from sse_adapters.http.messages import MessagesController
from sse_adapters.http.options import HttpOptions
from sse_adapters.http.problems import EXCEPTION_HANDLERS
from sse_adapters.http.publishing import publishing_routes
from sse_adapters.http.stream import stream_route
from sse_adapters.http.subscriptions import SubscriptionsController
from sse_domain.api import PushService


def hub_router(service: PushService, options: HttpOptions | None = None) -> Router:
    """Everything under the prefix (SPEC §2), for this hub.

    The router brings its own error answers (RFC 9457); what the surrounding application's router refuses by itself,
    such as an unknown path, is answered its way. An application that compresses must leave the streams out, since
    compression withholds small writes: `CompressionConfig(..., exclude=["/api/v1/sse/stream"])`.
    """
    options = options or HttpOptions()
    return Router(
        options.prefix,
        route_handlers=[
            *publishing_routes(service),
            MessagesController,
            SubscriptionsController,
            AdministrationController,
            stream_route(service, options.retry_ms),
        ],
        dependencies={"push_service": Provide(lambda: service, use_cache=True, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        include_in_schema=False,  # openapi.py describes them, and what Litestar's generator can't
    )
