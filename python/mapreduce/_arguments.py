"""Checks of arguments, so that a mistake is reported at once and by the argument's name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from mapreduce.errors import AuthenticationError, InvalidArgumentError, InvalidTypeError

MOST = 2**32 - 1
"""The engine counts in 32 bits."""


def text(name: str, value: object) -> str:
    """A text that is not empty."""
    if not isinstance(value, str):
        raise InvalidTypeError(f"{name} must be a text, not {_shown(name, value)}")
    if not value:
        raise InvalidArgumentError(f"{name} must be a text that is not empty")
    return value


def one_of(name: str, value: object, choices: Sequence[str]) -> None:
    """One of some texts."""
    if value not in choices:
        raise InvalidArgumentError(f"{name} must be {' or '.join(map(repr, choices))}, not {_shown(name, value)}")


def count(name: str, value: object, *, least: int, most: int = MOST) -> int:
    """A whole number that is at least ``least``. True is not a number here: nobody means 1 by it."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise InvalidTypeError(f"{name} must be a whole number, not {_shown(name, value)}")
    number = value.__index__()
    if not least <= number <= most:
        raise InvalidArgumentError(f"{name} must be a whole number from {least} on, not {number}")
    return int(number)


def count_or_none(name: str, value: object, *, least: int, most: int = MOST) -> int | None:
    """Such a number, or None where nothing was asked for."""
    return None if value is None else count(name, value, least=least, most=most)


def flag(name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise InvalidTypeError(f"{name} must be True or False, not {_shown(name, value)}")
    return value


def seconds_or_none(name: str, value: object) -> int | None:
    """A positive number of seconds, as milliseconds."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidTypeError(f"{name} must be a number of seconds, not {_shown(name, value)}")
    if not 0.001 <= value <= MOST:
        raise InvalidArgumentError(f"{name} must be a positive number of seconds, not {value}")
    return round(value * 1000)


def directory(name: str, value: object) -> str:
    """A directory's path, absolute; it need not exist."""
    if not isinstance(value, (str, os.PathLike)):
        raise InvalidTypeError(f"{name} must be the path of a directory, not {_shown(name, value)}")
    if not os.fspath(value):
        raise InvalidArgumentError(f"{name} must be the path of a directory, not empty")
    path = os.path.abspath(os.path.expanduser(os.fsdecode(value)))
    if os.path.exists(path) and not os.path.isdir(path):
        raise InvalidArgumentError(f"{name} must be the path of a directory, and {path} is a file")
    return path


def path(name: str, value: object) -> str:
    """A path or a pattern of paths, as text; ``~`` is the user's home."""
    if not isinstance(value, (str, os.PathLike)):
        raise InvalidTypeError(f"{name} must be paths, not {_shown(name, value)}")
    if not os.fspath(value):
        raise InvalidArgumentError(f"{name} must be paths, and one is empty")
    return os.path.expanduser(os.fsdecode(value))


def given(name: str, value: str | None, why: str) -> str:
    """A value that another argument makes necessary."""
    if value is None:
        raise InvalidArgumentError(f"{name} must be given with {why}")
    return value


def records(name: str, value: object) -> Iterable[Any]:
    """An iterable of records. What is iterable by accident is refused, with what was probably meant."""
    if isinstance(value, (str, bytes, bytearray)):
        kind = "text" if isinstance(value, str) else "bytes"
        raise InvalidArgumentError(
            f"{name} must be a list or another iterable of records, not one {kind}: for one record write [{kind}], "
            f"for its lines {kind}.splitlines()"
        )
    if isinstance(value, dict):
        raise InvalidArgumentError(
            f"{name} is a dict, which iterates over its keys alone: write list(data.items()) for records that are "
            "(key, value), or list(data) for the keys"
        )
    if not isinstance(value, Iterable) and not hasattr(value, "__getitem__"):
        raise InvalidTypeError(f"{name} must be a list or another iterable of records, not {_shown(name, value)}")
    return value  # type: ignore[return-value]  # the old iteration protocol, __getitem__, is good enough for iter()


def auth(value: object) -> None:
    """An Auth; the caller checks that it holds."""
    from mapreduce.authentication.auth import Auth

    if not isinstance(value, Auth):
        shown = "none was given" if value is None else f"not {type(value).__name__}"
        raise AuthenticationError(f"auth must be Auth(username=..., password=...); {shown}")


def _shown(name: str, value: object) -> str:
    """The value for a message; never a password, and never at length."""
    if value is None:
        return "None"
    if "password" in name:
        return type(value).__name__
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 60 else shown[:57] + '...'}"
