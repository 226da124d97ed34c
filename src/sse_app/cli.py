"""The command line: `sse-hub serve`, `migrate`, `new-epoch`, `config`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from sse_adapters.sql import database_for
from sse_adapters.sql.migrate import current, downgrade, upgrade
from sse_adapters.sql.store import open_sql_store
from sse_app.container import storage_kind
from sse_app.environment_file import read_environment_file
from sse_app.logs import configure_logging
from sse_app.server import serve, serve_as_worker, serve_by_workers
from sse_app.settings import Settings, SettingsError, describe, load_settings, unknown_variables
from sse_app.supervisor import NotServing
from sse_app.worker_process import Assignment
from sse_domain.errors import SseError

log = logging.getLogger("sse_hub.settings")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. A start that fails says why in one line on standard error and exits with 1 (bad use: 2)."""
    options = _parser().parse_args(arguments)
    options.again = [*_program(arguments), *(sys.argv[1:] if arguments is None else arguments)]
    worker: Assignment | None = getattr(options, "worker", None)
    try:
        environment = {**({} if options.env_file is None else read_environment_file(options.env_file)), **os.environ}
        settings = load_settings(environment, **_overrides(options))
        storage_kind(settings.database_url)
        configure_logging(settings.log_format, settings.log_level, None if worker is None else worker.number)
        for name in unknown_variables(environment) if worker is None else ():
            log.warning("%s is not a setting and changes nothing; `sse-hub config` lists those that there are", name)
        options.command(settings, options)
    except (SettingsError, NotServing) as error:
        _fail(str(error), worker)
    except SseError as error:
        _fail(error.detail, worker)
    except KeyboardInterrupt:
        sys.exit(130)


def _serve(settings: Settings, options: argparse.Namespace) -> None:
    try:
        if options.worker is not None:
            serve_as_worker(settings, options.worker)
        elif settings.workers == 1:
            serve(settings)
        elif not serve_by_workers(settings, [*options.again, "--worker"]):
            sys.exit(1)
    except OSError as error:
        _fail(f"can't listen on {settings.host}, port {settings.port}: {error.strerror or error}", options.worker)


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


def _program(arguments: Sequence[str] | None) -> list[str]:
    """What runs this program once more: as it was started itself, or what `main` was called by with arguments."""
    if arguments is not None:
        return [sys.executable, "-m", "sse_app.cli"]
    return [sys.executable, *sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]]


def _overrides(options: argparse.Namespace) -> dict[str, object]:
    """The settings that the command line has."""
    names = ("host", "port", "workers")
    return {name: value for name in names if (value := getattr(options, name, None)) is not None}


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--env-file", type=Path, metavar="FILE", help="NAME=VALUE lines for what the environment does not set"
    )
    parser = argparse.ArgumentParser(
        prog="sse-hub",
        description="Pushes events from a backend to browsers over Server-Sent Events, and keeps the ones that matter.",
        epilog="Everything is set by SSE_… environment variables; `sse-hub config` lists them.",
    )
    parser.add_argument("--version", action="version", version=f"sse-hub {version('sse-hub')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    summary = "run the server until SIGTERM or Ctrl-C"
    command = commands.add_parser(
        "serve",
        help=summary,
        description=summary,
        parents=[common],
        epilog="SIGTERM and Ctrl-C end streams in waves, over SSE_DRAIN_SECONDS, and then the server; a second Ctrl-C "
        "does not wait. With several workers, one that dies is started again, and SIGHUP replaces them one after the "
        "other, by the code and the --env-file as they are then, without refusing a connection.",
    )
    command.add_argument("--host", help="address to listen on (SSE_HOST, default 127.0.0.1)")
    command.add_argument("--port", type=int, help="port to listen on, 0 for a free one (SSE_PORT, default 8000)")
    command.add_argument("--workers", type=int, help="processes; several need SSE_REDIS_URL (SSE_WORKERS, default 1)")
    command.add_argument("--worker", type=Assignment.parse, help=argparse.SUPPRESS)
    command.set_defaults(command=_serve)

    summary = "bring the database to a revision of the schema (an SQLite file: `serve` does so too, to the newest)"
    command = commands.add_parser(
        "migrate",
        help=summary,
        description=summary,
        parents=[common],
        epilog="`serve` does not migrate PostgreSQL and MySQL: it refuses to start on a revision that is not its own.",
    )
    command.add_argument("--revision", help="where to (default: head, the newest; base: before the first)")
    command.add_argument("--down", action="store_true", help="the revision is an older one: take changes back")
    command.set_defaults(command=_migrate, misused=command.error)

    summary = "after restoring a backup, before serving it: have every stream begin again instead of missing something"
    command = commands.add_parser("new-epoch", help=summary, description=summary, parents=[common])
    command.set_defaults(command=_new_epoch)

    summary = "list every setting, its value now, its default and what it is for"
    command = commands.add_parser("config", help=summary, description=summary, parents=[common])
    command.set_defaults(command=_config)
    return parser


def _fail(reason: str, worker: Assignment | None = None) -> NoReturn:
    """A worker tells its supervisor, which says it once for all of them."""
    if worker is None:
        print(f"sse-hub: {reason}", file=sys.stderr)
    else:
        worker.report_failure(reason)
    sys.exit(1)


if __name__ == "__main__":
    main()
