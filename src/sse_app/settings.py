"""Configuration: every setting with its default, its bounds and what it is for, in one place (SPEC §9).

From the environment each is `SSE_` and the name in capitals. The README's table and `sse-hub config` are made from
these descriptions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

PREFIX = "SSE_"

# Promised for later versions. Silently ignoring one could, for example, leave a server open that its owner believes
# to be protected.
NOT_YET = ("AUTH_SECRET", "REDIS_URL", "WORKERS")


class SettingsError(Exception):
    """A setting is wrong; the text is one clear line."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, with its default."""

    database_url: Annotated[
        str,
        Meta(description="where messages are kept: `sqlite+aiosqlite:///FILE`, or `memory://` to keep nothing"),
    ] = "sqlite+aiosqlite:///sse-hub.db"
    host: Annotated[str, Meta(min_length=1, description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="port to listen on; 0 picks a free one")] = 8000
    allow_unauthenticated: Annotated[
        bool,
        Meta(description="`1` lets the server bind an address beyond loopback although it has no authentication"),
    ] = False
    path_prefix: Annotated[str, Meta(pattern="^(/[A-Za-z0-9._~-]+)+$", description="path that the API lives under")] = (
        "/api/v1/sse"
    )
    cors_origins: Annotated[
        str,
        Meta(description="origins whose pages may use the API, separated by commas, as `https://app.example.com`"),
    ] = ""
    heartbeat_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="seconds between signs of life on a stream")
    ] = 30.0
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="seconds after which a stream that takes no data is closed")
    ] = 90.0
    retry_ms: Annotated[
        int, Meta(ge=0, le=3_600_000, description="milliseconds a browser waits before it reconnects")
    ] = 2000
    retention_days: Annotated[float, Meta(gt=0, le=36_500, description="days that messages are kept")] = 30.0
    cleanup_seconds: Annotated[
        float, Meta(gt=0, le=86_400, description="seconds between removals of expired and old messages")
    ] = 30.0
    stream_buffer_messages: Annotated[
        int,
        Meta(ge=1, le=100_000, description="messages that may wait for one slow stream before it reads the log"),
    ] = 256
    stream_buffer_bytes: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="bytes of data that may wait for one slow stream")
    ] = 1024 * 1024
    drain_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="seconds over which SIGTERM ends open streams, in waves")
    ] = 5.0
    log_format: Annotated[Literal["text", "json"], Meta(description="`text` for people, `json` for machines")] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least severe level that is logged")
    ] = "info"

    def __post_init__(self) -> None:
        for name, annotation in _annotations().items():
            try:
                msgspec.convert(getattr(self, name), annotation)
            except msgspec.ValidationError as error:
                raise SettingsError(f"{PREFIX}{name.upper()}: {_lower(str(error))}") from error
        for origin in self.origins:
            if origin == "*" or "://" not in origin or origin.endswith("/") or "*" in origin:
                raise SettingsError(
                    f"{PREFIX}CORS_ORIGINS: {origin!r} is not an exact origin like https://app.example.com"
                )

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(origin.strip() for origin in self.cors_origins.split(",") if origin.strip())


def load_settings(environment: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Settings from environment variables, then `overrides`. Raises SettingsError."""
    for name in NOT_YET:
        if environment.get(PREFIX + name):
            raise SettingsError(f"{PREFIX}{name}: not supported by this version; unset it")
    values: dict[str, Any] = {}
    for name, annotation in _annotations().items():
        text = environment.get(PREFIX + name.upper())
        if text is None:
            continue
        try:
            values[name] = msgspec.convert(text, annotation, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{PREFIX}{name.upper()}: {_lower(str(error))}, got {text!r}") from error
    return Settings(**(values | overrides))


def describe() -> list[tuple[str, str, str]]:
    """Each setting's environment variable, default (as text) and description."""
    defaults = Settings()
    rows = []
    for name, annotation in _annotations().items():
        default = getattr(defaults, name)
        shown = (
            ""
            if default == ""
            else f"{default:d}"
            if isinstance(default, bool)
            else f"{default:g}"
            if isinstance(default, float)
            else str(default)
        )
        rows.append((PREFIX + name.upper(), shown, annotation.__metadata__[0].description))
    return rows


def _annotations() -> dict[str, Any]:
    return {
        name: hint for name, hint in get_type_hints(Settings, include_extras=True).items() if not name.startswith("_")
    }


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
