"""The house rules that no linter knows (design: the domain is pure; files are short)."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import sse_domain

DOMAIN = Path(sse_domain.__file__).parent
MAX_LINES = 300
# Standard, but not pure: they wait, read a clock, do input or output, or draw lots.
IMPURE = {
    "asyncio", "concurrent", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "secrets",
    "select", "selectors", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time",
    "uuid",
}  # fmt: skip
CLOCKS = {"now", "utcnow", "today", "fromtimestamp", "localtime"}


def imported(tree: ast.AST) -> set[str]:
    """The top-level packages that a module imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names.add((node.module or "").split(".")[0])
    return names


def modules() -> dict[str, ast.Module]:
    return {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in DOMAIN.rglob("*.py")}


def test_the_domain_imports_the_standard_library_and_itself() -> None:
    allowed = (sys.stdlib_module_names - IMPURE) | {"sse_domain"}
    beyond = {name: imported(tree) - allowed for name, tree in modules().items()}
    assert "delivery.py" in beyond
    assert not {name: packages for name, packages in beyond.items() if packages}


def test_the_domain_reads_no_clock_and_waits_for_nothing() -> None:
    for name, tree in modules().items():
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.Attribute) and node.attr in CLOCKS), f"{name}: reads a clock"
            assert not isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith), f"{name}: waits"
            assert not (isinstance(node, ast.Name) and node.id in {"open", "print", "input"}), f"{name}: does I/O"


def test_no_source_file_is_too_long() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in DOMAIN.parent.rglob("*.py")}
    assert DOMAIN / "delivery.py" in lines
    assert not {path.name: count for path, count in lines.items() if count > MAX_LINES}
