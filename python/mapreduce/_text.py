"""Aligned tables and trees, as text; and a word to the user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Union

Tree = dict[str, Union["Tree", int]]
"""Directories by name, and files' sizes in bytes."""


def warn(text: str) -> None:
    """A warning of the logger ``mapreduce``; Python prints it unless the program has set logging up otherwise."""
    import logging

    logging.getLogger("mapreduce").warning("%s", text)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns under a header, numbers to the right; ``(none)`` without rows."""
    if not rows:
        return "  (none)"
    cells = [list(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    to_the_right = [all(isinstance(value, int) for value in column) for column in zip(*rows, strict=True)]

    def line(texts: Sequence[str]) -> str:
        columns = zip(texts, widths, to_the_right, strict=True)
        return "  " + "  ".join(f"{text:>{n}}" if right else f"{text:<{n}}" for text, n, right in columns).rstrip()

    rule = ["-" * width for width in widths]
    return "\n".join(line(texts) for texts in (list(header), rule, *cells))


def tree(files: Sequence[tuple[str, int]]) -> Tree:
    """The tree of some paths with their sizes."""
    root: Tree = {}
    for path, size in files:
        *parents, leaf = path.split("/")
        directory = root
        for name in parents:
            below = directory.setdefault(name, {})
            assert isinstance(below, dict), f"{path} lies below a file"
            directory = below
        directory[leaf] = size
    return root


def tree_lines(directory: Tree, most: int | None, indent: str = "  ") -> Iterator[str]:
    """A line for each file and directory, numbers in order; at most ``most`` in one directory."""
    entries = sorted(directory.items(), key=lambda entry: _natural(entry[0]))
    for path, below in (_joined(*entry) for entry in entries[:most]):
        if isinstance(below, dict):
            yield f"{indent}{path}/"
            yield from tree_lines(below, most, indent + "  ")
        else:
            yield f"{indent}{path}  {size_text(below)}"
    hidden = entries[most:] if most is not None else []
    if hidden:
        yield f"{indent}... and {len(hidden)} more  {size_text(sum(_size(below) for _, below in hidden))}"


def _joined(path: str, below: Tree | int) -> tuple[str, Tree | int]:
    """A directory with one thing in it is not worth a line of its own."""
    if isinstance(below, dict) and len(below) == 1:
        ((name, inside),) = below.items()
        return _joined(f"{path}/{name}", inside)
    return path, below


def size_text(n_bytes: int) -> str:
    """A size as people read it."""
    size = float(n_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _size(below: Tree | int) -> int:
    return below if isinstance(below, int) else sum(map(_size, below.values()))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts 9 before 10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
