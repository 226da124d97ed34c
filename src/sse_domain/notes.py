"""What the nodes of a hub tell each other over the bus: hints of what the database has, and what is only in passing.

A note may be lost, doubled, delayed, or overtaken by another. So none is the only way in which something that matters
is learnt: what is committed is in the log, whose head every node looks at by itself, and whoever asks other nodes for
something asks again until they have answered.
"""

from __future__ import annotations

from dataclasses import dataclass

from sse_domain.message import Message, Receiver
from sse_domain.replay import LogHead


@dataclass(frozen=True, slots=True)
class Committed:
    """The log has come to `head`. `messages`, if any, are its last ones, in order; memberships may have changed too."""

    head: LogHead
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Passing:
    """Ephemeral messages, in the order in which their node took them, for the streams of all others.

    `first` counts the messages that their node has passed on before them, so that each is taken at most once and in
    order. `epoch` names the log, so that hubs that share a bus by mistake do not give each other's readers anything.
    """

    epoch: str
    first: int
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class HasRead:
    """A user has marked messages as read."""

    user_id: str


@dataclass(frozen=True, slots=True)
class EndStreams:
    """Every node is to end the streams of this user or client, and to answer how many it has ended. Without `reconnect`
    a client is turned away for a while."""

    question_id: str
    receiver: Receiver
    reconnect: bool


@dataclass(frozen=True, slots=True)
class LearnMemberships:
    """Every node is to answer once it knows the membership changes of the log `epoch` up to this version."""

    question_id: str
    epoch: str
    version: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The telling node's, to a question: a number, where one was asked for."""

    question_id: str
    number: int = 0


Question = EndStreams | LearnMemberships
Note = Committed | Passing | HasRead | Question | Answer
