"""The address that is served: who may reach it, and the sockets on it."""

from __future__ import annotations

import ipaddress
import socket

from msgspec.structs import replace

from sse_app.settings import Settings, SettingsError

SEND_BUFFER_BYTES = 256 * 1024  # what the kernel may hold for one stalled reader
BACKLOG = 4096


def check_exposure(settings: Settings) -> None:
    """While there is no authentication, only loopback, unless told explicitly otherwise (SPEC §7)."""
    if not (settings.allow_unauthenticated or _is_loopback(settings.host)):
        raise SettingsError(
            f"SSE_HOST: {settings.host} is reachable from other machines, and anyone who reaches this server may read "
            "and send everything; set SSE_ALLOW_UNAUTHENTICATED=1 if that is meant"
        )


def listen(settings: Settings) -> socket.socket:
    """A listening socket that shares its address with no other. Raises OSError."""
    listener = _bound(settings)
    try:
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


class SharedAddress:
    """One address for several workers, each with a socket of its own on it, which the kernel gives its connections.

    It chooses a socket by a hash of both ends of a connection, so a worker's share varies, and more the fewer
    connections there are. A connection waits in its socket until that worker accepts it. When the worker dies, those
    waiting are reset with its socket, and the next go to the other workers. When it is replaced, its successor has the
    same socket, and no connection is lost.

    The address is kept from everyone else as long as this object is open, by a socket that does not listen and so is
    given nothing. Raises OSError when the address is in use.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.port:
            listen(settings).close()  # other workers' sockets would be shared with, not refused
        self._reserved = _bound(settings, shared=True)
        # Only now, so that connections of a server before this one don't count as a use of the address.
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        self._settings = replace(settings, port=self._reserved.getsockname()[1])
        self._sockets: dict[int, socket.socket] = {}

    def socket_of(self, worker: int) -> socket.socket:
        """A worker's socket, which is made if it has none. It begins to listen when the worker does."""
        if worker not in self._sockets:
            self._sockets[worker] = _bound(self._settings, shared=True)
        return self._sockets[worker]

    def release(self, worker: int) -> None:
        """Let go of a worker's socket. It is closed as soon as no process has it open."""
        if worker in self._sockets:
            self._sockets.pop(worker).close()

    def close(self) -> None:
        for worker in list(self._sockets):
            self.release(worker)
        self._reserved.close()


def shown(listener: socket.socket) -> str:
    """Its address as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bound(settings: Settings, *, shared: bool = False) -> socket.socket:
    """A socket that is bound and does not listen yet. Accepted sockets inherit its options."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # a peer that vanished is noticed though heartbeats fill its buffer
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(settings.timeout_seconds * 1000))
        listener.bind((settings.host, settings.port))
    except BaseException:
        listener.close()
        raise
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
