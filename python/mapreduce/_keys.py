"""Keys that are not plain: what plain value, or which type and fields, their equality goes by.

The engine encodes ``None``, ``bool``, ``int``, ``float``, ``str``, ``bytes``, ``tuple`` and ``frozenset`` itself
(``crates/python/src/keys.rs``). It asks :func:`canonical` about everything else.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import sys
import uuid
from collections.abc import Callable
from typing import Any

from mapreduce._failures import shorten
from mapreduce.errors import KeyEncodingError

# What `canonical` answers: ("plain", value), ("ratio", (numerator, denominator)), ("complex", (real, imaginary)),
# ("object", (type name, fields)).
Canonical = tuple[str, Any]

# A Decimal's exact value has about this many digits at most; an exponent beyond is a mistake, not a key.
_DECIMAL_DIGITS_MAX = 100_000

_EPOCH = datetime.datetime(1, 1, 1)
_MICROSECOND = datetime.timedelta(microseconds=1)


def canonical(key: Any) -> Canonical:
    """What ``key`` is equal to: two keys are equal exactly when the answers are.

    Raises:
        KeyEncodingError: The key's equality is not known to be that of its fields.
    """
    plain = _of_plain_subclass(key)
    if plain is not None:
        return "plain", plain[0]
    for base, reduce in _RULES:
        if isinstance(key, base) and _inherits_equality(type(key), base):
            return reduce(key)
    if isinstance(key, enum.Enum) and _inherits_equality(type(key), object, enum.Enum):
        # A combination of flags has no name in every version of Python, and its value is a number.
        identity = key.value if isinstance(key, enum.Flag) else key.name
        return "object", (_type_name(key), (identity,))
    if _is_frozen_dataclass(key):
        fields = (getattr(key, field.name) for field in dataclasses.fields(key) if field.compare)
        return "object", (_type_name(key), tuple(fields))
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(key, (numpy.bool_, numpy.number, numpy.str_, numpy.bytes_)):
        item = key.item()
        if type(item) is not type(key) and not isinstance(item, numpy.generic):
            return "plain", item
    raise KeyEncodingError(_refusal(key))


def _of_plain_subclass(key: Any) -> tuple[Any] | None:
    """The value of the built-in type that ``key`` compares as, such as the int of an ``IntEnum`` member."""
    for base, value_of in _PLAIN:
        if isinstance(key, base) and _inherits_equality(type(key), base):
            return (value_of(key),)
    return None


def _inherits_equality(cls: type, base: type, hashes_as: type | None = None) -> bool:
    return cls.__eq__ is base.__eq__ and cls.__hash__ is (hashes_as or base).__hash__


# Each yields an instance of exactly the base class, whatever the subclass overrides.
_PLAIN: list[tuple[type, Any]] = [
    (int, int.__int__),
    (float, float.__float__),
    (str, str.__str__),
    (bytes, lambda key: bytes.__getitem__(key, slice(None))),
    (tuple, lambda key: tuple.__getitem__(key, slice(None))),
    (frozenset, lambda key: frozenset(frozenset.__iter__(key))),
]


def _decimal(key: decimal.Decimal) -> Canonical:
    if key.is_nan():
        raise KeyEncodingError(f"the key {key!r} is not equal to itself, so it can't name a group: leave it out")
    if key.is_infinite():
        return "plain", float(key)
    if key and abs(key.adjusted()) > _DECIMAL_DIGITS_MAX:
        raise KeyEncodingError(f"the key {shorten(key)} is too long to be compared exactly: use str(key)")
    return _rational(*key.as_integer_ratio())


def _rational(numerator: int, denominator: int) -> Canonical:
    """The int or float that equals the reduced ratio exactly, if there is one."""
    if denominator == 1:
        return "plain", numerator
    try:
        nearest = numerator / denominator
    except OverflowError:
        return "ratio", (numerator, denominator)
    if nearest.as_integer_ratio() == (numerator, denominator):
        return "plain", nearest
    return "ratio", (numerator, denominator)


def _complex(key: complex) -> Canonical:
    if key.imag == 0:
        return "plain", key.real
    return "complex", (key.real, key.imag)


def _datetime(key: datetime.datetime) -> Canonical:
    # Python compares aware times by the moment they name; `fold` plays no part in the hash.
    key = key.replace(fold=0)
    offset = key.utcoffset()
    ticks = (key.replace(tzinfo=None) - _EPOCH) // _MICROSECOND
    return _moment("datetime.datetime", ticks, offset)


def _time(key: datetime.time) -> Canonical:
    offset = key.replace(fold=0).utcoffset()
    seconds = (key.hour * 60 + key.minute) * 60 + key.second
    return _moment("datetime.time", seconds * 1_000_000 + key.microsecond, offset)


def _moment(name: str, ticks: int, offset: datetime.timedelta | None) -> Canonical:
    if offset is None:
        return "object", (name, (False, ticks))
    return "object", (name, (True, ticks - offset // _MICROSECOND))


# A class before its bases: every datetime is a date.
_RULES: list[tuple[type, Callable[[Any], Canonical]]] = [
    (decimal.Decimal, _decimal),
    (fractions.Fraction, lambda key: _rational(key.numerator, key.denominator)),
    (complex, _complex),
    (datetime.datetime, _datetime),
    (datetime.date, lambda key: ("object", ("datetime.date", (key.toordinal(),)))),
    (datetime.time, _time),
    (datetime.timedelta, lambda key: ("object", ("datetime.timedelta", (key // _MICROSECOND,)))),
    (uuid.UUID, lambda key: ("object", ("uuid.UUID", (key.int,)))),
]


def _is_frozen_dataclass(key: Any) -> bool:
    """A frozen dataclass whose ``__eq__`` is the one that the decorator wrote: same class, equal fields."""
    parameters = getattr(type(key), "__dataclass_params__", None)
    if parameters is None or not (parameters.frozen and parameters.eq):
        return False
    # The decorator compiles its methods from text.
    code = getattr(type(key).__eq__, "__code__", None)
    return code is not None and code.co_filename == "<string>"


def _type_name(key: Any) -> str:
    cls = type(key)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


_ADVICE: list[tuple[tuple[type, ...], str]] = [
    ((list,), "it can change, so it can't name a group: use tuple(key)"),
    ((set,), "it can change, so it can't name a group: use frozenset(key)"),
    ((dict,), "it can change, so it can't name a group: use tuple(sorted(key.items()))"),
    ((bytearray, memoryview), "it can change, so it can't name a group: use bytes(key)"),
]


def _refusal(key: Any) -> str:
    start = f"the key {shorten(key)} of type {_type_name(key)} can't be used: "
    for types, advice in _ADVICE:
        if isinstance(key, types):
            return start + advice
    if dataclasses.is_dataclass(key):
        return start + "use dataclasses.astuple(key), or declare the class with @dataclass(frozen=True)"
    return start + "it is not known how its equality works; use a string, a number, bytes, or a tuple of them instead"
