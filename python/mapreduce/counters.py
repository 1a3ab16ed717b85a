"""Counting in user functions: what is counted arrives exactly, although tasks may be tried several times.

Example:
    >>> def map_func(data):
    ...     for line in data:
    ...         if not line.strip():
    ...             counters.increment("empty lines")
    ...         yield line, 1
    >>> future.counters()
    {'empty lines': 7}
"""

from __future__ import annotations

from collections import Counter

from mapreduce.errors import InvalidArgumentError, InvalidTypeError

_LARGEST = 2**63 - 1
_counted: Counter[str] = Counter()


def increment(name: str, n: int = 1) -> None:
    """Adds to a counter of the job whose function calls this. Elsewhere it has no effect.

    Args:
        name: The counter's name.
        n: What to add; may be below zero.

    Raises:
        InvalidTypeError: The name is no text, or the number no whole one.
        InvalidArgumentError: The counter would exceed 64 bits.
    """
    if not isinstance(name, str):
        raise InvalidTypeError(f"a counter's name must be a text, not {type(name).__name__}")
    if isinstance(n, bool) or not isinstance(n, int):
        raise InvalidTypeError(f"a counter counts whole numbers, not {type(n).__name__}")
    if abs(_counted[name] + n) > _LARGEST:
        raise InvalidArgumentError(f"the counter {name} would exceed 64 bits")
    _counted[name] += n


def _take() -> dict[str, int]:
    """What was counted since the last time, for the engine."""
    taken = dict(_counted)
    _counted.clear()
    return taken
