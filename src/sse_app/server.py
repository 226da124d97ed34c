"""Serving over HTTP: the listening socket, uvicorn, and the drain that comes before its shutdown."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
import uvloop

from sse_app.container import build_container
from sse_app.http_protocol import TransportProtocol
from sse_app.node import Node
from sse_app.settings import Settings, SettingsError

log = logging.getLogger("sse_hub.server")

SEND_BUFFER_BYTES = 256 * 1024  # what the kernel may hold for one stalled reader
BACKLOG = 4096
LOOK_SECONDS = 0.1  # how soon a second SIGINT is noticed
GRACE_SECONDS = 5  # after the drain, for requests that are still being answered


class DrainingServer(uvicorn.Server):
    """uvicorn waits for open responses before it tells the application to stop; streams must be ended before that."""

    def __init__(self, config: uvicorn.Config, node: Node) -> None:
        super().__init__(config)
        self._node = node

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT; a second SIGINT does not wait. Unlike uvicorn, do not raise them again at the
        end: what was asked for has then been done, and the exit status is 0 (SPEC §9)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        log.info("draining")
        draining = asyncio.create_task(self._node.drain())
        while not (draining.done() or self.force_exit):
            await asyncio.wait([draining], timeout=LOOK_SECONDS)
        draining.cancel()  # what is still open then is ended all at once when the node stops
        with suppress(asyncio.CancelledError):
            await draining
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises SettingsError, StoreUnavailable or OSError before the first request."""
    check_exposure(settings)
    listener = listen(settings)
    with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, listener))


def check_exposure(settings: Settings) -> None:
    """While there is no authentication, only loopback, unless told explicitly otherwise (SPEC §7)."""
    if not (settings.allow_unauthenticated or _is_loopback(settings.host)):
        raise SettingsError(
            f"SSE_HOST: {settings.host} is reachable from other machines, and anyone who reaches this server may read "
            "and send everything; set SSE_ALLOW_UNAUTHENTICATED=1 if that is meant"
        )


def listen(settings: Settings) -> socket.socket:
    """The listening socket. Accepted sockets inherit its options. Raises OSError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # a peer that vanished is noticed though heartbeats fill its buffer
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(settings.timeout_seconds * 1000))
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


async def _serve(settings: Settings, listener: socket.socket) -> None:
    container = build_container(settings)
    node: Node = container.node()
    async with node:
        config = uvicorn.Config(
            container.app(),
            http=TransportProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        log.info("listening on http://%s:%d", shown, port, extra={"pid": os.getpid(), "database": _kind(settings)})
        await DrainingServer(config, node).serve(sockets=[listener])
    log.info("stopped")


def _kind(settings: Settings) -> str:
    return settings.database_url.partition(":")[0]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
