"""Values that all tasks of a job read: sent once a job, fetched once a machine, loaded once a process.

A :class:`Broadcast` that a function refers to is pickled as the digest of its value's pickle. The pickle itself is a
side input of the job: an object of its own in storage, which an executor reads when ``value`` is first asked for.
"""

from __future__ import annotations

import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from mapreduce import _pickle
from mapreduce.errors import SerializationError

Value = TypeVar("Value")

_ABSENT: Any = object()


class Broadcast(Generic[Value]):
    """A value that all tasks of a job read; made by :func:`broadcast`."""

    __slots__ = ("__weakref__", "_alike", "_digest", "_pickled", "_value")

    def __init__(self, digest: str, pickled: bytes, value: Value) -> None:
        self._digest = digest
        self._pickled = pickled
        self._value = value
        self._alike: weakref.WeakSet[Broadcast[Any]] | None = None  # keeps its entry in `_made`

    def __repr__(self) -> str:
        return f"<Broadcast {self._digest[:12]}>"

    @property
    def value(self) -> Value:
        """The value, to be read only: a change is seen by some tasks and not by others.

        In the process that made the broadcast it is the value itself. An executor loads it when it is first asked for,
        and keeps it for all tasks of the job that it runs.
        """
        if self._value is _ABSENT:
            with _loading:
                if self._value is _ABSENT:
                    self._value = _load(self._digest)
        return self._value

    def __reduce__(self) -> tuple[Callable[[str], Broadcast[Any]], tuple[str]]:
        found = _collecting.get()
        if found is None:
            raise SerializationError(
                "a broadcast travels with the functions of a job that refer to it, not in records, values or results: "
                "use its value there"
            )
        found[self._digest] = self
        return _refer, (self._digest,)


def broadcast(value: Value) -> Broadcast[Value]:
    """Makes a value known to all tasks of the jobs whose functions refer to it, as a global, a closure or an argument.

    Unlike a value that functions refer to directly, it is not a part of their pickle: each job sends it once, each
    machine fetches it once, and each process loads it once a job, when :attr:`Broadcast.value` is first asked for.
    So it suits tables that are large, or that only some tasks need.

    Args:
        value: Anything that can be pickled. It is pickled now: what is changed afterwards is not sent.

    Raises:
        SerializationError: It can't be pickled.

    Example:
        >>> stop_words = mapreduce.broadcast({"a", "the", "of"})
        >>> def map_func(lines):
        ...     return [(word, 1) for line in lines for word in line.split() if word not in stop_words.value]
    """
    from mapreduce import _failures, _native

    try:
        pickled = _pickle.dumps(value)
    except MemoryError:
        raise
    except Exception as error:
        raise SerializationError(
            f"the value of a broadcast, {type(value).__name__} {_failures.shorten(value)}, can't be pickled: {error}"
        ) from error
    made = Broadcast(_native.digest(pickled), pickled, value)
    made._alike = _made.setdefault(made._digest, weakref.WeakSet())
    made._alike.add(made)
    return made


_made: weakref.WeakValueDictionary[str, weakref.WeakSet[Broadcast[Any]]] = weakref.WeakValueDictionary()
"""What this process has made, by digest: a job's functions may be loaded here, too, to sample its input."""

_collecting: ContextVar[dict[str, Broadcast[Any]] | None] = ContextVar("_collecting", default=None)
_loading = threading.RLock()
_open_side_input: Callable[[str], int] | None = None


@contextmanager
def collected() -> Iterator[dict[str, Broadcast[Any]]]:
    """The broadcasts, by digest, that what is pickled meanwhile refers to."""
    found: dict[str, Broadcast[Any]] = {}
    before = _collecting.set(found)
    try:
        yield found
    finally:
        _collecting.reset(before)


def serve(open_side_input: Callable[[str], int]) -> None:
    """Says how this process opens the side inputs of its job: by name, as a file descriptor."""
    global _open_side_input  # noqa: PLW0603  # an executor serves one job at a time
    _open_side_input = open_side_input


def _refer(digest: str) -> Broadcast[Any]:
    """The broadcast that was pickled: as it was made here, or one that will be loaded."""
    return next(iter(_made.get(digest, ())), None) or Broadcast(digest, b"", _ABSENT)


def _load(digest: str) -> Any:
    if _open_side_input is None:
        raise RuntimeError("a broadcast was unpickled outside of the job whose functions refer to it")
    with open(_open_side_input(digest), "rb") as file:
        try:
            return pickle.load(file)
        except MemoryError:
            raise
        except Exception as error:
            raise SerializationError(f"the value of a broadcast can't be unpickled: {error}") from error
