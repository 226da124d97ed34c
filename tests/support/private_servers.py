"""PostgreSQL and MariaDB servers of a test's own, started from installed programs.

They keep what they have committed as a server in production does: nothing of their durability is turned off.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL

from tests.support.database_process import DatabaseProcess


class PrivatePostgres(DatabaseProcess):
    product = "PostgreSQL"
    system_user = "postgres"

    @classmethod
    def programs(cls) -> tuple[Path, Path] | None:
        found = shutil.which("initdb")
        # Debian has no version on PATH but keeps each in a directory of its own.
        newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
        for initdb in [*([Path(found).resolve()] if found else []), *reversed(newest)]:
            if (initdb.parent / "postgres").exists():
                return initdb, initdb.parent / "postgres"
        return None

    @property
    def url(self) -> URL:
        return URL.create("postgresql+asyncpg", "postgres", None, "127.0.0.1", self.port, "postgres")

    async def stop_immediately(self) -> None:
        """Stop all its processes without a checkpoint: the next start is a recovery."""
        await self.stop_by(signal.SIGQUIT)

    stop_signal = signal.SIGINT  # "fast": SIGTERM would wait for clients to go by themselves
    removal_signal = signal.SIGQUIT  # leaves none of its shared memory behind, as SIGKILL would

    @classmethod
    def initialisation(cls, data: Path) -> list[str]:
        initdb, _ = cls.installed()
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        return [str(initdb), f"--pgdata={data}", *options]

    def command(self, data: Path) -> list[str]:
        _, postgres = self.installed()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": "mmap",  # in the data directory, so that a killed server leaves none behind
        }
        return [str(postgres), "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]


class PrivateMariaDb(DatabaseProcess):
    product = "MariaDB"
    system_user = "mysql"

    @classmethod
    def programs(cls) -> tuple[Path, Path] | None:
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
        install, server = shutil.which("mariadb-install-db", path=path), shutil.which("mariadbd", path=path)
        return (Path(install), Path(server)) if install and server else None

    @property
    def url(self) -> URL:
        return URL.create("mysql+asyncmy", "root", None, "127.0.0.1", self.port, query={"charset": "utf8mb4"})

    stop_signal = signal.SIGTERM
    removal_signal = signal.SIGKILL

    # A smaller redo log than by default: one of 96 MB takes longer to make than all the rest.
    _SIZES = ("--innodb-log-file-size=32M", "--innodb-buffer-pool-size=64M")

    @classmethod
    def initialisation(cls, data: Path) -> list[str]:
        install, _ = cls.installed()
        options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        return [str(install), "--no-defaults", f"--datadir={data}", *options, *cls._SIZES]

    def command(self, data: Path) -> list[str]:
        _, mariadbd = self.installed()
        settings = {
            "datadir": data,
            "bind-address": "127.0.0.1",
            "port": self.port,
            "socket": data / "socket",
            "pid-file": data / "pid",
            "tmpdir": data.parent,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [str(mariadbd), "--no-defaults", "--skip-name-resolve", *options, *self._SIZES]


_Server = TypeVar("_Server", bound=DatabaseProcess)


@asynccontextmanager
async def run_private(kind: type[_Server]) -> AsyncIterator[_Server]:
    """A new server of this class, started; removed at the end of the block, whatever state it is in then.

    A test that asks for one whose programs are not installed skips; with `CI=true` it fails.
    """
    kind.installed()
    server = kind()
    try:
        await server.start()
        yield server
    finally:
        await server.remove()
