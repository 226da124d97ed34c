"""The command line: `sse-hub serve`, `migrate`, `config`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from importlib.metadata import version

from sse_adapters.sql.migrate import downgrade, upgrade
from sse_app.container import storage_kind
from sse_app.logs import configure_logging
from sse_app.server import serve
from sse_app.settings import Settings, SettingsError, describe, load_settings
from sse_domain.errors import SseError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. A start that fails says why in one line on standard error and exits with 1 (bad use: 2)."""
    options = _parser().parse_args(arguments)
    try:
        overrides = {name: value for name in ("host", "port") if (value := getattr(options, name, None)) is not None}
        settings = load_settings(**overrides)
        configure_logging(settings.log_format, settings.log_level)
        options.command(settings, options)
    except SettingsError as error:
        _fail(str(error))
    except SseError as error:
        _fail(error.detail)
    except OSError as error:
        _fail(error.strerror or str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _serve(settings: Settings, options: argparse.Namespace) -> None:
    serve(settings)


def _migrate(settings: Settings, options: argparse.Namespace) -> None:
    if storage_kind(settings.database_url) == "memory":
        raise SettingsError("SSE_DATABASE_URL: memory:// has nothing to migrate")
    change = downgrade if options.down else upgrade
    asyncio.run(change(settings.database_url, options.revision))
    print(f"at revision {options.revision}")


def _config(settings: Settings, options: argparse.Namespace) -> None:
    rows = describe()
    width = max(len(name) for name, _, _ in rows)
    for name, default, description in rows:
        value = getattr(settings, name.removeprefix("SSE_").lower())
        print(f"{name:<{width}}  {value!s}\n{'':<{width}}  {description} (default: {default or 'empty'})")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sse-hub",
        description="Pushes events from a backend to browsers over Server-Sent Events, and keeps the ones that matter.",
        epilog="Everything else is set by SSE_… environment variables; `sse-hub config` lists them.",
    )
    parser.add_argument("--version", action="version", version=f"sse-hub {version('sse-hub')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("serve", help="run the server until SIGTERM or Ctrl-C")
    command.add_argument("--host", help="address to listen on (SSE_HOST, default 127.0.0.1)")
    command.add_argument("--port", type=int, help="port to listen on, 0 for a free one (SSE_PORT, default 8000)")
    command.set_defaults(command=_serve)

    command = commands.add_parser("migrate", help="bring the database to a revision of the schema")
    command.add_argument("--revision", default="head", help="where to (default: head, the newest)")
    command.add_argument("--down", action="store_true", help="the revision is an older one: take changes back")
    command.set_defaults(command=_migrate)

    command = commands.add_parser("config", help="list every setting, its value now, its default and what it is for")
    command.set_defaults(command=_config)
    return parser


def _fail(reason: str) -> None:
    print(f"sse-hub: {reason}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
