"""Run a test against a copy of our source with one line changed, in memory: nothing on disk is touched."""

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

# What must be imported anew to see a patch of a package: whatever imports it, and the tests that drive that.
_DOMAIN = ("sse_domain", "tests.unit.domain")
_AFFECTED = {"sse_domain": _DOMAIN, "sse_app": (*_DOMAIN, "sse_adapters", "sse_app", "tests.unit.app")}


@dataclass(frozen=True)
class Mutant:
    """A seeded bug: in `module` of `package`, `old` becomes `new`. `witness` is the test that must notice it, as
    `module:name`, among the package's unit tests."""

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
def patched(package: str, mutant: Mutant | None) -> Iterator[None]:
    """While this lasts, imports give fresh copies of a package and of its tests; with the mutant's bug, if any."""
    affected = _AFFECTED[package]
    patch = None if mutant is None else _Patch(mutant)
    aside = {name: module for name, module in sys.modules.items() if name.startswith(affected)}
    for name in aside:
        del sys.modules[name]
    if patch is not None:
        sys.meta_path.insert(0, patch)
    try:
        yield
    finally:
        if patch is not None:
            sys.meta_path.remove(patch)
        for name in [name for name in sys.modules if name.startswith(affected)]:
            del sys.modules[name]
        sys.modules.update(aside)
