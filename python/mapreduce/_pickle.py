"""Pickling of what the engine has no encoding of its own for."""

from __future__ import annotations

import pickle
from typing import Any


def dumps(thing: Any) -> bytes:
    """A pickle that any process of the job can load; a class of ``__main__`` travels with it by value."""
    try:
        pickled = pickle.dumps(thing, protocol=5)
    except MemoryError:
        raise
    except Exception:
        pickled = None  # defined in __main__ of another process, in a notebook cell or inside a function
    # What is in __main__ here would be found by name in this process alone.
    if pickled is not None and b"__main__" not in pickled:
        return pickled
    import cloudpickle

    by_value: bytes = cloudpickle.dumps(thing, protocol=5)
    return by_value
