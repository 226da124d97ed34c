"""The offline checker: reads the record of a run and tells every law of SPEC §3 and §4 that it breaks.

It knows nothing of the product but what SPEC says: cursors are opaque to it, and so is how nodes learn of each other's
doings. Each law is a function of its own, in `laws`, which says where it comes from. As a program it reads a record
that a test has left: `python -m tests.chaos.checker RECORD`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tests.chaos.laws import command_laws, delivery_laws, inbox_laws, log_laws, stream_laws
from tests.chaos.laws.evidence import Evidence
from tests.chaos.laws.streams import Streams
from tests.chaos.record import Record

LAWS = (*log_laws.LAWS, *stream_laws.LAWS, *delivery_laws.LAWS, *inbox_laws.LAWS, *command_laws.LAWS)
SHOWN = 5  # violations of one law: whatever breaks one breaks it often


class Violation(NamedTuple):
    law: str
    detail: str

    def __str__(self) -> str:
        return f"{self.law}: {self.detail}"


def check(record: Record) -> list[Violation]:
    """What the record proves to have been wrong, by law."""
    streams = Streams(Evidence(record))
    return [Violation(law.__name__, detail) for law in LAWS for detail in law(streams)]


def told(violations: list[Violation]) -> Iterator[str]:
    """Some of each law, for people."""
    for law in LAWS:
        broken = [violation for violation in violations if violation.law == law.__name__]
        for violation in islice(broken, SHOWN):
            yield str(violation)
        if len(broken) > SHOWN:
            yield f"{law.__name__}: and {len(broken) - SHOWN} more"


def main() -> None:
    violations = check(Record.load(Path(sys.argv[1])))
    for line in told(violations):
        print(line)
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
