"""What the engine needs to know of an exception that user code raised."""

from __future__ import annotations

import base64
import os
import traceback
import types
from typing import Any

import cloudpickle

from mapreduce import _pickle

# This package and what it pickles with: where a traceback begins before it comes to the user's code.
_NOT_THE_USERS = tuple(
    os.path.join(os.path.dirname(os.path.abspath(file)), "") for file in (__file__, cloudpickle.__file__)
)


def describe(error: BaseException) -> tuple[str, str, str, str | None]:
    """Class, last line, traceback (of the user's frames alone) and pickle in base64 of ``error``."""
    cls = type(error)
    name = cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"
    text = "".join(traceback.format_exception_only(cls, error)).strip()
    own = _users_part(error.__traceback__)
    frames = "" if own is None else "".join(traceback.format_exception(cls, error, own))
    return name, text, frames, _pickled(error)


def shorten(thing: Any) -> str:
    """The ``repr`` of ``thing``, cut after 200 characters."""
    try:
        text = repr(thing)
    except Exception:
        text = object.__repr__(thing)
    return text if len(text) <= 200 else text[:197] + "..."


def _users_part(tb: types.TracebackType | None) -> types.TracebackType | None:
    while tb is not None and os.path.abspath(tb.tb_frame.f_code.co_filename).startswith(_NOT_THE_USERS):
        tb = tb.tb_next
    return tb


def _pickled(error: BaseException) -> str | None:
    """None where it can't be pickled: the text says what happened, too."""
    try:
        return base64.b64encode(_pickle.dumps(error)).decode("ascii")
    except Exception:
        return None
