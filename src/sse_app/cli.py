"""The command line: `sse-hub serve`, `migrate`, `new-epoch`, `config`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import sys
from collections.abc import Sequence
from importlib.metadata import version

from sse_adapters.sql import database_for
from sse_adapters.sql.migrate import current, downgrade, upgrade
from sse_adapters.sql.store import open_sql_store
from sse_app.container import storage_kind
from sse_app.logs import configure_logging
from sse_app.server import serve
from sse_app.settings import Settings, SettingsError, describe, load_settings, unknown_variables
from sse_domain.errors import SseError

log = logging.getLogger("sse_hub.settings")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. A start that fails says why in one line on standard error and exits with 1 (bad use: 2)."""
    options = _parser().parse_args(arguments)
    try:
        overrides = {name: value for name in ("host", "port") if (value := getattr(options, name, None)) is not None}
        settings = load_settings(**overrides)
        storage_kind(settings.database_url)
        configure_logging(settings.log_format, settings.log_level)
        for name in unknown_variables():
            log.warning("%s is not a setting and changes nothing; `sse-hub config` lists those that there are", name)
        options.command(settings, options)
    except SettingsError as error:
        _fail(str(error))
    except SseError as error:
        _fail(error.detail)
    except KeyboardInterrupt:
        sys.exit(130)


def _serve(settings: Settings, options: argparse.Namespace) -> None:
    try:
        serve(settings)
    except OSError as error:
        _fail(f"can't listen on {settings.host}, port {settings.port}: {error.strerror or error}")


def _migrate(settings: Settings, options: argparse.Namespace) -> None:
    url = _database(settings)
    if not options.down:
        asyncio.run(upgrade(url, options.revision or "head"))
    elif options.revision:
        asyncio.run(downgrade(url, options.revision))
    else:
        options.misused("--down needs --revision: how far back")
    print(f"{_shown(url)} is at revision {asyncio.run(current(url)) or 'base'}")


def _new_epoch(settings: Settings, options: argparse.Namespace) -> None:
    url, epoch = _database(settings), secrets.token_hex(4)

    async def rename() -> None:
        async with open_sql_store(url, epoch=epoch):
            pass

    asyncio.run(rename())
    print(f"{_shown(url)} has the epoch {epoch}")


def _config(settings: Settings, options: argparse.Namespace) -> None:
    defaults = describe()
    width = max(len(default.variable) for default in defaults)
    for default, now in zip(defaults, describe(settings), strict=True):
        print(f"{now.variable:<{width}}  {now.value or '(empty)'}")
        print(f"{'':<{width}}  {now.purpose} (default: {default.value or 'empty'})")


def _shown(url: str) -> str:
    """Without its password."""
    return database_for(url)[1].render_as_string()


def _database(settings: Settings) -> str:
    if storage_kind(settings.database_url) == "memory":
        raise SettingsError("SSE_DATABASE_URL: memory:// keeps nothing, so there is nothing to change")
    return settings.database_url


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sse-hub",
        description="Pushes events from a backend to browsers over Server-Sent Events, and keeps the ones that matter.",
        epilog="Everything is set by SSE_… environment variables; `sse-hub config` lists them.",
    )
    parser.add_argument("--version", action="version", version=f"sse-hub {version('sse-hub')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    summary = "run the server until SIGTERM or Ctrl-C"
    command = commands.add_parser("serve", help=summary, description=summary)
    command.add_argument("--host", help="address to listen on (SSE_HOST, default 127.0.0.1)")
    command.add_argument("--port", type=int, help="port to listen on, 0 for a free one (SSE_PORT, default 8000)")
    command.set_defaults(command=_serve)

    summary = "bring the database to a revision of the schema (`serve` does so too, to the newest)"
    command = commands.add_parser("migrate", help=summary, description=summary)
    command.add_argument("--revision", help="where to (default: head, the newest; base: before the first)")
    command.add_argument("--down", action="store_true", help="the revision is an older one: take changes back")
    command.set_defaults(command=_migrate, misused=command.error)

    summary = "after restoring a backup, before serving it: have every stream begin again instead of missing something"
    command = commands.add_parser("new-epoch", help=summary, description=summary)
    command.set_defaults(command=_new_epoch)

    summary = "list every setting, its value now, its default and what it is for"
    command = commands.add_parser("config", help=summary, description=summary)
    command.set_defaults(command=_config)
    return parser


def _fail(reason: str) -> None:
    print(f"sse-hub: {reason}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
