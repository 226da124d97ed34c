"""Every error the hub can answer with, as one tree with stable codes.

`code` is part of the public contract (SPEC §2): callers switch on it, so a code is never renamed. `detail` is for
people; it never repeats secrets and never carries a publisher's data.
"""

from __future__ import annotations


class SseError(Exception):
    """Root of the tree. `code` is stable; `detail` says in one sentence what was wrong."""

    code: str = "internal_error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class InvalidInput(SseError):
    """The caller's input breaks a rule; nothing was changed. `field` names the part that is wrong.

    The code is `invalid_<field>`, so a client can tell which of its fields to mend without reading prose.
    """

    code = "invalid_input"

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}", code=f"invalid_{field}")
        self.field = field


class TooLarge(SseError):
    """A size cap was exceeded (SPEC §2: data 256 KiB, body 1 MiB, batch 16 MiB)."""

    code = "too_large"


class EventIdConflict(SseError):
    """The event_id is already in use by a message with other content (SPEC §2, Sending)."""

    code = "event_id_conflict"

    def __init__(self, event_id: str) -> None:
        super().__init__(f"event_id {event_id!r} was used for a message with other content")


class UnknownEventId(SseError):
    """An event id or cursor given as a position is not in this log."""

    code = "unknown_event_id"


class Unavailable(SseError):
    """The call can't be served right now and may be repeated unchanged after `retry_after` seconds."""

    code = "unavailable"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class StoreUnavailable(Unavailable):
    """The database did not answer. A send may or may not have been committed: repeat it with the same event_id."""

    code = "store_unavailable"


class NodesUnavailable(Unavailable):
    """What the other nodes of the hub have, or are to do, can't be learnt or told right now (Redis does not answer)."""

    code = "nodes_unavailable"


class Overloaded(Unavailable):
    """More work is waiting than the configured caps allow; this call was refused whole."""

    code = "overloaded"


class ShuttingDown(Unavailable):
    """This node is draining and takes no new work."""

    code = "shutting_down"
