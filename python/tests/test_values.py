"""The value encoding: what comes back is what was put in, of the same types, shared where it was shared."""

import contextlib
import dataclasses
import datetime
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mapreduce._native import _decode_value, _encode_value


@dataclasses.dataclass
class Record:
    name: str
    sizes: list[int]


class Number(int):
    pass


def back(value: object) -> object:
    return _decode_value(_encode_value(value))


def same(a: object, b: object) -> bool:
    """Equal, of the same types all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and isinstance(b, float):
        return math.copysign(1, a) == math.copysign(1, b) and (a == b or (math.isnan(a) and math.isnan(b)))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return same(list(a.items()), list(b.items()))
    return a == b


_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-200, 200),
    st.integers(),
    st.integers(-(2**63) - 2, -(2**63) + 2),
    st.integers(2**63 - 2, 2**63 + 2),
    st.floats(),
    st.text(st.characters(exclude_categories=[]), max_size=40),
    st.binary(),
    st.dates(),
    st.builds(Number, st.integers()),
    st.builds(Record, st.text(), st.lists(st.integers())),
)
_keys = st.one_of(st.integers(), st.text(), st.booleans(), st.none())
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(_keys, inner, max_size=4),
        st.sets(st.integers(), max_size=4),
    ),
    max_leaves=10,
)


@given(_values)
@example(-0.0)
@example("x" * 31)
@example("x" * 32)
@example("\ud800")
@example([[], []])
@example({1: "a", "1": [2]})
def test_a_value_comes_back_as_it_was(value: object) -> None:
    assert same(back(value), value)


@given(st.binary())
@example(b"\x88\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\x86\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\x89\x01" * 10_000)
@example(b"\x8a\x01\x89\x00\x00")
def test_damaged_bytes_are_an_error(data: bytes) -> None:
    if b"\x8b" in data:
        return  # a pickle is the user's own: it may do anything
    with contextlib.suppress(OSError, UnicodeDecodeError, TypeError):
        _decode_value(data)


def test_common_values_are_small() -> None:
    assert len(_encode_value(1)) == 1
    assert len(_encode_value(-1)) == 1
    assert len(_encode_value(1000)) == 3
    assert len(_encode_value(1.5)) == 9
    assert len(_encode_value("word")) == 5
    assert len(_encode_value(("word", 1))) == 8


def test_what_is_one_object_stays_one_object() -> None:
    inner: list[int] = [1]
    found = back([inner, inner])
    assert isinstance(found, list)
    assert found[0] is found[1]
    loop: list[object] = []
    loop.append(loop)
    found = back(loop)
    assert isinstance(found, list)
    assert found[0] is found


def test_deep_tuples_come_back() -> None:
    deep: object = ()
    for _ in range(200):
        deep = (deep, datetime.date(2026, 1, 1))
    assert back(deep) == deep


def test_a_class_of_no_module_travels_with_its_instances() -> None:
    class Local:
        def __init__(self, n: int) -> None:
            self.n = n

    found = back([Local(3)])
    assert isinstance(found, list)
    assert found[0].n == 3


def test_what_cannot_be_pickled_is_an_error() -> None:
    with pytest.raises(TypeError):
        _encode_value((1, (n for n in [1])))
