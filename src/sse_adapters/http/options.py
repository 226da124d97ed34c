"""How the HTTP face is set up."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """How the hub is served. `retry_ms` is how long a reader waits before it reconnects, in milliseconds.

    `cors_origins` may call it from a browser, each exactly as the browser says it (`https://app.example`, lower case,
    without a path); by default none may. Raises ValueError for what is no prefix or no origin.
    """

    prefix: str = "/api/v1/sse"
    cors_origins: tuple[str, ...] = ()
    retry_ms: int = 2000

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise ValueError(f"not a path prefix such as /api/v1/sse: {self.prefix!r}")
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"not an origin such as https://app.example: {origin!r}")
        if self.retry_ms < 0:
            raise ValueError(f"retry_ms must not be negative: {self.retry_ms}")
