"""Configuration: every setting with its default, its bounds and what it is for, in one place (SPEC §9).

From the environment each is `SSE_` and the name in capitals. The README's table, `sse-hub config` and the complaint
about a wrong value are all made from what stands here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_type_hints

import msgspec
from msgspec import Meta

from sse_adapters.http.options import HttpOptions

PREFIX = "SSE_"
# In a URL, also in one that is not well formed: rather too much than too little.
_PASSWORDS = (re.compile(r"(?<=://)([^/@]*?:).*(?=@)"), re.compile(r"([?&]\w*password=)[^&]*"))

# Promised for later versions. Silently ignoring one could, for example, leave a server open that its owner believes
# to be protected.
NOT_YET = ("AUTH_SECRET",)


class SettingsError(Exception):
    """A setting is wrong; the text is one clear line."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, with its default. Raises SettingsError for a value out of its bounds."""

    database_url: Annotated[
        str,
        Meta(
            description="where messages are kept: `sqlite+aiosqlite:///FILE`, "
            "`postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE`, `mysql+asyncmy://USER:PASSWORD@HOST/DATABASE`, "
            "or `memory://` to keep nothing"
        ),
    ] = "sqlite+aiosqlite:///sse-hub.db"
    database_connections: Annotated[
        int,
        Meta(ge=1, le=1000, description="connections to a database server, to read; to write as many, and one more"),
    ] = 5
    database_timeout_seconds: Annotated[
        float, Meta(ge=1, le=3600, description="seconds after which a database server counts as not answering")
    ] = 10.0
    redis_url: Annotated[
        str,
        Meta(
            description="Redis, by which the nodes of a hub find each other: `redis://`, `rediss://`, `unix://`, "
            "`redis+sentinel://HOST:PORT,…/SERVICE` or `redis+cluster://HOST:PORT,…`"
        ),
    ] = ""
    redis_prefix: Annotated[
        str,
        Meta(
            pattern=r"\A[A-Za-z0-9_.:-]{1,64}\Z",
            extra={"expected": "1 to 64 of [A-Za-z0-9_.:-]"},
            description="what the names of keys and channels begin with; hubs that share a Redis need different ones",
        ),
    ] = "sse-hub"
    workers: Annotated[
        int, Meta(ge=1, le=256, description="processes that serve; more than one need `SSE_REDIS_URL`")
    ] = 1
    host: Annotated[str, Meta(min_length=1, description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="port to listen on; 0 picks a free one")] = 8000
    allow_unauthenticated: Annotated[
        bool,
        Meta(description="`1` lets the server bind an address beyond loopback although it has no authentication"),
    ] = False
    path_prefix: Annotated[str, Meta(description="path that the API lives under")] = "/api/v1/sse"
    cors_origins: Annotated[
        str,
        Meta(description="origins whose pages may use the API, separated by commas, as `https://app.example`"),
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
    ] = 5.0
    opening_streams: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="streams that may be opening or wait for the log at once; more are told to come back later",
        ),
    ] = 20_000
    stream_buffer_messages: Annotated[
        int,
        Meta(ge=1, le=100_000, description="messages that may wait for one slow stream before it reads the log"),
    ] = 256
    stream_buffer_bytes: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="bytes of data that may wait for one slow stream")
    ] = 1024 * 1024
    node_buffer_bytes: Annotated[
        int, Meta(ge=1 << 20, le=1 << 40, description="bytes of data that may wait for all slow streams together")
    ] = 256 * 1024 * 1024
    unready_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="seconds after SIGTERM for which all goes on but `/health/ready` answers 503, so that load "
            "balancers notice",
        ),
    ] = 0.0
    drain_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="seconds over which a stop then ends open streams, in waves, and over which they return",
        ),
    ] = 5.0
    log_format: Annotated[Literal["text", "json"], Meta(description="`text` for people, `json` for machines")] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least severe level that is logged")
    ] = "info"

    def __post_init__(self) -> None:
        for name, annotation in _annotations().items():
            _convert(name, getattr(self, name), annotation, strict=True)
        try:
            HttpOptions(prefix=self.path_prefix)
        except ValueError as error:
            raise SettingsError(f"{PREFIX}PATH_PREFIX: {error}") from error
        try:
            HttpOptions(cors_origins=self.origins)
        except ValueError as error:
            raise SettingsError(f"{PREFIX}CORS_ORIGINS: {error}") from error

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(origin.strip() for origin in self.cors_origins.split(",") if origin.strip())


class Description(NamedTuple):
    """A setting for people: its environment variable, its value as the environment would have it, and its purpose."""

    variable: str
    value: str
    purpose: str


def load_settings(environment: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Settings from environment variables, then `overrides`. Raises SettingsError."""
    for name in NOT_YET:
        if environment.get(PREFIX + name):
            raise SettingsError(f"{PREFIX}{name}: not supported by this version; unset it")
    values = {
        name: _convert(name, environment[PREFIX + name.upper()], annotation, strict=False)
        for name, annotation in _annotations().items()
        if PREFIX + name.upper() in environment
    }
    return Settings(**(values | overrides))


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that look like settings and are none: misspelt, most likely."""
    known = {PREFIX + name for name in (*map(str.upper, _annotations()), *NOT_YET)}
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)


def describe(settings: Settings | None = None) -> list[Description]:
    """Every setting with its value in `settings`, or with its default."""
    settings = settings or Settings()
    return [
        Description(PREFIX + name.upper(), _text(getattr(settings, name)), annotation.__metadata__[0].description)
        for name, annotation in _annotations().items()
    ]


def _annotations() -> dict[str, Any]:
    return {
        name: hint for name, hint in get_type_hints(Settings, include_extras=True).items() if not name.startswith("_")
    }


def _convert(name: str, value: object, annotation: Any, *, strict: bool) -> Any:
    try:
        return msgspec.convert(value, annotation, strict=strict)
    except msgspec.ValidationError as error:
        complaint = f"{PREFIX}{name.upper()}: must be {_expected(annotation)}, not {value!r}"
        raise SettingsError(complaint) from error


def _expected(annotation: Any) -> str:
    """The values that a setting takes, in words."""
    kind, bounds = annotation.__origin__, annotation.__metadata__[0]
    if bounds.extra is not None:
        return str(bounds.extra["expected"])
    if choices := get_args(kind):
        return f"one of {', '.join(choices)}"
    if kind is bool:
        return "1 or 0"
    if kind is str:
        return "text" if bounds.min_length is None else "text that is not empty"
    noun = "a whole number" if kind is int else "a number"
    least = f"above {bounds.gt}" if bounds.ge is None else f"of at least {bounds.ge}"
    return f"{noun} {least} and at most {bounds.le}"


def _text(value: object) -> str:
    match value:
        case bool():
            return f"{value:d}"
        case float():
            return f"{value:g}"
        case _:
            text = str(value)
            for password in _PASSWORDS:
                text = password.sub(r"\1***", text)
            return text
