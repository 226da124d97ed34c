"""Run a test against a copy of the domain or the application with one line changed, in memory: no file is touched."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

# What must be imported anew to see a patch: the package, and the tests that drive it.
_TESTS = {"sse_domain": "tests.unit.domain", "sse_app": "tests.unit.app"}


@dataclass(frozen=True)
class Mutant:
    """A seeded bug: in `module` of `package`, `old` becomes `new`. `witness` is the test that must notice,
    `module:name`."""

    name: str
    module: str
    old: str
    new: str
    witness: str = "test_delivery_machine:DeliveryMachine"
    package: str = "sse_domain"

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


class _Patch(MetaPathFinder, Loader):
    def __init__(self, mutant: Mutant) -> None:
        self._name = f"{mutant.package}.{mutant.module}"
        spec = importlib.util.find_spec(self._name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).read_text(encoding="utf-8")
        found = source.count(mutant.old)
        if found != 1:
            raise LookupError(f"mutant {mutant.name!r}: its text stands {found} times in {self._name}, not once")
        self._origin = spec.origin
        self._code: CodeType = compile(source.replace(mutant.old, mutant.new), spec.origin, "exec")

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, origin=self._origin) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)  # noqa: S102 - our own source, patched


@contextmanager
def patched(package: str, mutant: Mutant | None) -> Iterator[str]:
    """While this lasts, imports give fresh copies of the package and its tests; with the mutant's bug, if any.

    Gives the package of the tests.
    """
    patch = None if mutant is None else _Patch(mutant)
    affected = (package, _TESTS[package])
    aside = {name: module for name, module in sys.modules.items() if name.startswith(affected)}
    for name in aside:
        del sys.modules[name]
    if patch is not None:
        sys.meta_path.insert(0, patch)
    try:
        yield _TESTS[package]
    finally:
        if patch is not None:
            sys.meta_path.remove(patch)
        for name in [name for name in sys.modules if name.startswith(affected)]:
            del sys.modules[name]
        sys.modules.update(aside)
