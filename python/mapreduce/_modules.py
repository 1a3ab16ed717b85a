"""The client's own modules on their way to executors on other machines: what its program imports and nobody installed.

A function of a module is pickled by name, and the executor imports the module. On the client's machine it finds it by
the client's ``sys.path``; elsewhere the source comes with the job. What is installed or found there goes first.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import os
import sys
import sysconfig
import types
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A module as it is written.

    Attributes:
        path: Where it is on the client's machine; tracebacks name it.
        text: All of it.
        is_package: Whether it is a package's ``__init__``.
    """

    path: str
    text: str
    is_package: bool


def collect() -> dict[str, Source]:
    """By name, the modules that this process has imported and that are not installed; of a package, every module."""
    standard = tuple(os.path.join(sysconfig.get_path(kind), "") for kind in ("stdlib", "platstdlib"))
    found: dict[str, Source] = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        # The script itself travels by value, and this package is where executors are.
        if not path or name.partition(".")[0] in ("__main__", "__mp_main__", "mapreduce") or name in found:
            continue
        path = os.path.abspath(path)
        is_installed = path.startswith(standard) or {"site-packages", "dist-packages"} & set(path.split(os.sep))
        if path.endswith(".py") and not is_installed:
            found |= _package(name, path) if os.path.basename(path) == "__init__.py" else _read(name, path)
    return found


def _package(name: str, path: str) -> dict[str, Source]:
    directory = os.path.dirname(path)
    found = _read(name, path)
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        module, extension = os.path.splitext(entry.name)
        below = os.path.join(entry.path, "__init__.py")
        if extension == ".py" and module != "__init__":
            found |= _read(f"{name}.{module}", entry.path)
        elif os.path.exists(below):
            found |= _package(f"{name}.{entry.name}", below)
    return found


def _read(name: str, path: str) -> dict[str, Source]:
    try:
        with open(path, "rb") as file:
            text = importlib.util.decode_source(file.read())
    except (OSError, SyntaxError, UnicodeDecodeError):
        return {}  # It is gone, or no module: who imports it will be told that there is none.
    return {name: Source(path, text, os.path.basename(path) == "__init__.py")}


def install(sources: dict[str, Source]) -> None:
    """Lets this process import these modules, where it does not find others of their names."""
    if sources and not any(isinstance(finder, _Importer) and finder.sources == sources for finder in sys.meta_path):
        sys.meta_path.append(_Importer(sources))


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, sources: dict[str, Source]) -> None:
        self.sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        source = self.sources.get(fullname)
        if source is not None:
            return importlib.util.spec_from_loader(fullname, self, origin=source.path, is_package=source.is_package)
        if any(name.startswith(f"{fullname}.") for name in self.sources):
            return importlib.machinery.ModuleSpec(fullname, None, is_package=True)  # a package without `__init__`
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        source = self.sources[module.__name__]
        module.__file__ = source.path
        # Without a modification time the entry is never checked against a file.
        lines = source.text.splitlines(keepends=True)
        linecache.cache[source.path] = (len(source.text), None, lines, source.path)
        exec(compile(source.text, source.path, "exec", dont_inherit=True), vars(module))
