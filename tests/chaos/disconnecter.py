"""Who ends clients' streams, through any node: some may come back, some are turned away."""

from __future__ import annotations

from tests.chaos.readers import ChaosReader
from tests.chaos.record import Disconnect
from tests.chaos.run import Run, open_caller


class Disconnecter:
    """Of the readers that have a client id and need not stay. Each is turned away once, at most."""

    def __init__(self, run: Run, readers: list[ChaosReader]) -> None:
        self._run = run
        self._readers = [reader for reader in readers if reader.ways.client_id and not reader.ways.stays]
        self._random = run.random("disconnecter")

    async def run(self) -> None:
        welcome = list(self._readers)
        async with open_caller(self._run) as caller:
            while welcome and not self._run.progress.ending:
                await self._run.progress.more_answered(self._random.randint(20, 80))
                client_id = self._random.choice(welcome).ways.client_id
                assert client_id is not None
                command = Disconnect(client_id=client_id, reconnect=self._random.random() < 0.6)
                if not command.reconnect:
                    welcome = [reader for reader in welcome if reader.ways.client_id != client_id]
                self._run.record.disconnects.append(command)
                path, body = f"/disconnect/{client_id}", {"reconnect": command.reconnect}
                # Nodes that can't ask each other say so: for as long as that may be.
                await caller.until_accepted(command, self._random, path, body, as_long_as_it_lasts=False)
