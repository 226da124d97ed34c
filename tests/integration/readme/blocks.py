"""README.md as tests read it: its fenced blocks, each by the name of the test that tries it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
README = ROOT / "README.md"

_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: what its fence says it is, and what is in it."""

    language: str
    text: str


# Which block is which: the language and how it begins.
BLOCKS: Mapping[str, Block] = {
    "make": Block("sh", "make serve"),
    "open a stream": Block("sh", "curl -N "),
    "send": Block("sh", "curl -H "),
    "what the stream shows": Block("", "id: "),
    "resume": Block("sh", 'curl -N -H "Last-Event-ID'),
    "in a browser": Block("js", "const stream = new EventSource("),  # run by the browser tests
    "in-process": Block("python", "import asyncio"),
    "what in-process prints": Block("", "2\n"),
    "in a transaction": Block("python", "async with AsyncSession"),
    "in Litestar": Block("python", "from litestar import"),
    "on a database server": Block("sh", "export SSE_DATABASE_URL="),
    "several workers": Block("sh", "export SSE_REDIS_URL="),
    "nginx": Block("nginx", "upstream sse_hub {"),
}


def fenced(markdown: str) -> list[Block]:
    """All fenced blocks, in order."""
    return [Block(found["language"], found["text"]) for found in _FENCED.finditer(markdown)]


def named(block: Block) -> str | None:
    """The name of a block of README.md: of those that fit, the one that says most; None if no test knows it."""
    fitting = [
        name for name, known in BLOCKS.items() if block.language == known.language and block.text.startswith(known.text)
    ]
    return max(fitting, key=lambda name: len(BLOCKS[name].text), default=None)


def block(name: str) -> str:
    """The text of the block of that name. `ValueError` unless README.md has it exactly once."""
    [text] = [block.text for block in fenced(README.read_text("utf-8")) if named(block) == name]
    return text
