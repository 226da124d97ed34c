"""Serving over HTTP: uvicorn, the stop that begins before its shutdown, and one process or several."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import uvicorn
import uvloop
from msgspec.structs import replace

from sse_app.container import build_container, storage_kind
from sse_app.garbage import StepwiseCollector
from sse_app.http_protocol import TransportProtocol
from sse_app.listening import BACKLOG, SharedAddress, check_exposure, listen, shown
from sse_app.node import Node
from sse_app.settings import Settings, SettingsError
from sse_app.supervisor import REPLACED, Supervisor
from sse_app.worker_process import Assignment, WorkerProcesses

log = logging.getLogger("sse_hub.server")

LOOK_SECONDS = 0.1  # how soon a second SIGINT is noticed
GRACE_SECONDS = 5  # after the drain, for requests that are still being answered


class DrainingServer(uvicorn.Server):
    """uvicorn waits for open responses before it tells the application to stop; streams must be ended before that.

    A stop has three parts. For `unready_seconds` everything goes on, only that the node is not ready any more, so that
    load balancers turn to others. Then nothing new is accepted, streams are ended in waves, and any other connection
    with its next answer. Then requests that are being answered have GRACE_SECONDS. `serving` is called when connections
    are accepted.

    A worker leaves out the first part when it is replaced, since the successor on its socket is ready, and when its
    supervisor is gone, since the next one needs the address.
    """

    def __init__(
        self, config: uvicorn.Config, node: Node, *, unready_seconds: float, serving: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._node = node
        self._unready_seconds = unready_seconds
        self._serving = serving
        self._accepts_until = 0.0

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT; a second SIGINT does not wait. Unlike uvicorn, do not raise them again at the
        end: what was asked for has then been done, and the exit status is 0 (SPEC §9)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # a worker is started with it blocked
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def replaced(self) -> None:
        self._node.hub.replaced = True
        self.should_exit = True

    def left(self) -> None:
        log.warning("the supervisor is gone")
        self.should_exit = True

    def handle_exit(self, sig: int, frame: object) -> None:
        if not self.should_exit:
            log.info("stopping")
            self._node.hub.leaving = True
            self._accepts_until = asyncio.get_running_loop().time() + self._unready_seconds
        super().handle_exit(sig, None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._serving()

    async def on_tick(self, counter: int) -> bool:
        to_exit = await super().on_tick(counter)
        return to_exit and (self.force_exit or asyncio.get_running_loop().time() >= self._accepts_until)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        # Not in the middle of what a client sends next, when all that is idle is closed in the end.
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
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


def serve_by_workers(settings: Settings, command: Sequence[str]) -> bool:
    """Serve by several processes, each started by `command` with an Assignment, until SIGTERM or SIGINT.

    SIGHUP replaces all workers, one after the other, so that what has changed of settings and code comes into force;
    the address and the number of workers stay. False if a worker had to be killed in the end.
    Raises SettingsError, OSError, and NotServing when a worker can't start.
    """
    check_exposure(settings)
    check_shared(settings)
    return asyncio.run(_supervise(settings, command))


def serve_as_worker(settings: Settings, assignment: Assignment) -> None:
    """Serve the supervisor's address until SIGTERM, SIGINT, or the supervisor's death. Raises as `serve` does."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # from a terminal that is closed; the supervisor has it too
    with assignment.socket() as listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        host, port = listener.getsockname()[:2]
        check_exposure(replace(settings, host=host, port=port))
        runner.run(_serve(settings, listener, assignment))


def check_shared(settings: Settings) -> None:
    """Whether several workers can be one hub. Raises SettingsError."""
    complaint = f"SSE_WORKERS: {settings.workers} workers"
    if storage_kind(settings.database_url) == "memory":
        raise SettingsError(f"{complaint} can't share SSE_DATABASE_URL memory://, which each would have for itself")
    if not settings.redis_url:
        raise SettingsError(
            f"{complaint} need SSE_REDIS_URL: without it messages that are not persisted, presence and disconnects "
            "would stay with one of them"
        )


async def _supervise(settings: Settings, command: Sequence[str]) -> bool:
    supervisor = Supervisor(
        WorkerProcesses(SharedAddress(settings), command),
        settings.workers,
        stop_seconds=settings.unready_seconds
        + settings.drain_seconds
        + GRACE_SECONDS
        + settings.database_timeout_seconds,  # to write what was taken
        hurry_seconds=GRACE_SECONDS + settings.database_timeout_seconds,
    )
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, supervisor.stop)
    loop.add_signal_handler(signal.SIGINT, supervisor.interrupt)
    loop.add_signal_handler(signal.SIGHUP, supervisor.replace)
    return await supervisor.run()


async def _serve(settings: Settings, listener: socket.socket, assignment: Assignment | None = None) -> None:
    container = build_container(settings)
    node: Node = container.node()

    def serving() -> None:
        log.info("listening on %s", shown(listener), extra={"pid": os.getpid(), "database": _kind(settings)})
        if assignment is not None:
            asyncio.get_running_loop().add_signal_handler(REPLACED, server.replaced)
            assignment.report_serving()
            assignment.when_left(server.left)

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
        server = DrainingServer(config, node, unready_seconds=settings.unready_seconds, serving=serving)
        collecting = asyncio.create_task(StepwiseCollector().run())
        await server.serve(sockets=[listener])
        collecting.cancel()
    log.info("stopped")


def _kind(settings: Settings) -> str:
    return settings.database_url.partition(":")[0]
