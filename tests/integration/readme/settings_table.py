"""The list of settings in README.md, made from their descriptions. `make readme` writes it."""

from __future__ import annotations

import re

from sse_app.settings import describe
from tests.integration.readme.blocks import README

_MARKED = re.compile(r"(?<=<!-- settings -->\n).*(?=<!-- /settings -->)", re.DOTALL)


def with_settings(readme: str) -> str:
    """The text with every setting, its default and its purpose between the marks. `ValueError` without the marks."""
    rows = ["| variable | default | what it sets |", "|---|---|---|"]
    for variable, default, purpose in describe():
        rows.append(f"| `{variable}` | {f'`{default}`' if default else ''} | {purpose} |")
    table = "".join(f"{row}\n" for row in rows)
    written, times = _MARKED.subn(lambda _: table, readme)
    if times != 1:
        raise ValueError("README.md must have <!-- settings --> and <!-- /settings --> once, each on its own line")
    return written


if __name__ == "__main__":
    README.write_text(with_settings(README.read_text("utf-8")), "utf-8")
