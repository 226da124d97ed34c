"""uvicorn's HTTP protocol over a real socket, in the test's own event loop: nothing to wait for at start or stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sse_adapters.http.transport_writer import TransportFrameWriter
from sse_app.http_protocol import TransportProtocol
from sse_app.listening import SEND_BUFFER_BYTES


@asynccontextmanager
async def serve(app: ASGIApp, protocol: type[HttpToolsProtocol] = TransportProtocol) -> AsyncIterator[str]:
    """The base URL of `app` while the block runs; afterwards every connection is cut and its task has ended."""
    application: Any = app
    config = uvicorn.Config(application, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    # As the real server does: accepted sockets inherit it, and a reader that stalls is noticed early.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    server = await loop.create_server(lambda: protocol(config, state, {}, loop), sock=listener)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in list(state.connections):
            ours: Any = connection
            transport = ours._transport if isinstance(ours, TransportFrameWriter) else ours.transport
            transport.abort()
        await asyncio.gather(*state.tasks)
        await server.wait_closed()
