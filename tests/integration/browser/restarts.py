"""What happens to a server, and to its database, between a stream's end and its resume."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sse_app import Priority, Settings, open_hub
from tests.support.http import open_api
from tests.support.server_process import ServerProcess


def database_url(directory: Path) -> str:
    """Where the server of a test that restarts it keeps its messages."""
    return f"sqlite+aiosqlite:///{directory / 'hub.db'}"


async def send_online(server: ServerProcess, numbers: Iterable[int]) -> None:
    """Send these numbers to ada, each with the priority that follows from it."""
    async with open_api(server.base_url) as api:
        common = {"to": {"user_id": "ada"}, "event_type": "number", "persist": True}
        await api.send_batch([common | {"data": number, "priority": number % 3} for number in numbers])


async def send_offline(directory: Path, numbers: Iterable[int]) -> None:
    """The same while the server is down: whoever opens its database can send."""
    async with open_hub(Settings(database_url=database_url(directory))) as hub:
        for number in numbers:
            await hub.send_to_user("ada", "number", number, persist=True, priority=Priority(number % 3))


async def replace_database(server: ServerProcess, directory: Path) -> None:
    """Crash the server and bring it back with an empty database, so with another log."""
    await server.kill9()
    _remove_database(directory)
    await server.restart_on_same_port()


def _remove_database(directory: Path) -> None:
    for file in directory.glob("hub.db*"):
        file.unlink()
