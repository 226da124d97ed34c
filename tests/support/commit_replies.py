"""Finds, in the bytes between a database's client and its server, the reply that says "committed".

Plain connections only: what is encrypted can't be read.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple


class Reply(NamedTuple):
    """One whole message of the server."""

    message: bytes
    commits: bool  # it tells the client that its transaction has been committed


class Conversation(ABC):
    """What one connection says, in both directions, from its first byte on."""

    def __init__(self) -> None:
        self._from_client = bytearray()
        self._from_server = bytearray()

    @abstractmethod
    def ask(self, received: bytes) -> tuple[bytes, bytes]:
        """Take bytes of the client: those that are to go to the server, and those to answer it with instead."""

    @abstractmethod
    def reply(self, received: bytes) -> Iterator[Reply]:
        """Take bytes of the server and yield the messages that they complete."""


class PostgresConversation(Conversation):
    """PostgreSQL's protocol, version 3. A client that asks for encryption is told that there is none."""

    _ENCRYPTION_REQUESTS = (80877103, 80877104)  # by TLS, by GSSAPI; an eight-byte message each

    def __init__(self) -> None:
        super().__init__()
        self._started = False

    def ask(self, received: bytes) -> tuple[bytes, bytes]:
        self._from_client += received
        answer = b""
        while not self._started and len(self._from_client) >= 8:
            # What opens a connection has no type before its length.
            if int.from_bytes(self._from_client[4:8]) in self._ENCRYPTION_REQUESTS:
                _take(self._from_client, 8)
                answer += b"N"
            else:
                self._started = True
        return _take(self._from_client, len(self._from_client) if self._started else 0), answer

    def reply(self, received: bytes) -> Iterator[Reply]:
        self._from_server += received
        while len(self._from_server) >= 5:
            # One byte of type, four of length, which counts itself.
            length = 1 + int.from_bytes(self._from_server[1:5])
            if len(self._from_server) < length:
                return
            message = _take(self._from_server, length)
            # CommandComplete, however the command was sent. That of a COMMIT which failed says ROLLBACK.
            yield Reply(message, commits=message[:1] == b"C" and message[5:] == b"COMMIT\0")


class MySqlConversation(Conversation):
    """The protocol of MySQL and MariaDB. A reply doesn't tell what it replies to: the commands have to be read too."""

    _COMMIT_COMMAND = re.compile(rb"\x03\s*COMMIT\b", re.IGNORECASE)  # COM_QUERY
    _OK = 0x00

    def __init__(self) -> None:
        super().__init__()
        self._committing = False

    def ask(self, received: bytes) -> tuple[bytes, bytes]:
        self._from_client += received
        for packet in self._packets(self._from_client):
            # A command is the first packet of its exchange.
            if packet[3] == 0:
                self._committing = self._COMMIT_COMMAND.match(packet, 4) is not None
        return received, b""

    def reply(self, received: bytes) -> Iterator[Reply]:
        self._from_server += received
        for packet in self._packets(self._from_server):
            yield Reply(packet, commits=self._committing and packet[4] == self._OK)
            self._committing = False

    @staticmethod
    def _packets(buffer: bytearray) -> Iterator[bytes]:
        while len(buffer) >= 4:
            # Three bytes of length, without these four; one that numbers the packets of an exchange.
            length = 4 + int.from_bytes(buffer[:3], "little")
            if len(buffer) < length:
                return
            yield _take(buffer, length)


def _take(buffer: bytearray, count: int) -> bytes:
    taken = bytes(buffer[:count])
    del buffer[:count]
    return taken
