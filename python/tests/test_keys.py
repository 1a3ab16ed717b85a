"""The key encoding against Python's own equality and order."""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import math
import pickle
import uuid

import numpy
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mapreduce import KeyEncodingError
from mapreduce._native import _decode_key, _encode_key


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(str, enum.Enum):
    A = "a"


class Colour(enum.Enum):
    RED = ["not", "hashable"]  # noqa: RUF012
    BLUE = 2


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Place:
    x: int
    y: float


@dataclasses.dataclass(frozen=True)
class Spot:
    x: int
    y: float


@dataclasses.dataclass
class Changing:
    x: int


Pair = collections.namedtuple("Pair", "left right")


class Shouting(str):
    """Equal to its lower case: its equality is its own."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()

    __hash__ = str.__hash__


def encode(key: object) -> bytes:
    return _encode_key(key)[0]


def back(key: object) -> object:
    return _decode_key(*_encode_key(key))


# Numbers that meet: whole and not, small and huge, of every type.
_small = st.integers(-5, 5)
_ints = st.one_of(_small, st.integers(), st.builds(lambda n, k: n << k, _small, st.integers(0, 1100)))
_floats = st.one_of(
    st.floats(allow_nan=False), _small.map(float), st.builds(math.ldexp, _small, st.integers(-1074, 1020))
)
_numbers = st.one_of(
    st.booleans(),
    _ints,
    _floats,
    st.decimals(allow_nan=False, min_value=-(10**30), max_value=10**30),
    st.fractions(),
    st.builds(fractions.Fraction, _small, st.sampled_from([1, 2, 4])),
    st.builds(decimal.Decimal, _floats.filter(math.isfinite)),
    st.sampled_from(list(Level)),
)
_texts = st.one_of(st.text("\0a\xff\u1234\U0001f600", max_size=4), st.text(st.characters(exclude_categories=[])))
_bytes = st.one_of(st.binary(max_size=3), st.binary())
_zones = st.integers(-14, 14).map(lambda hours: datetime.timezone(datetime.timedelta(hours=hours)))
_moments = st.one_of(
    st.datetimes(timezones=st.one_of(st.none(), _zones)),
    st.dates(),
    st.times(timezones=st.one_of(st.none(), _zones)),
    st.timedeltas(),
)
_others = st.one_of(
    _moments,
    st.uuids(),
    st.sampled_from([*Colour, *Mode, Mode.READ | Mode.WRITE, *Word]),
    st.builds(Place, _small, _small.map(float)),
    st.builds(Spot, _small, _small.map(float)),
    st.complex_numbers(allow_nan=False),
    st.builds(complex, _small, _small),
)
_plain = st.one_of(st.none(), _numbers, _texts, _bytes)
_keys = st.recursive(
    st.one_of(_plain, _others),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3), st.builds(Pair, inner, inner)
    ),
    max_leaves=6,
)

# Nested keys take long to be drawn when the machine is busy, which is no fault.
patient = settings(suppress_health_check=[HealthCheck.too_slow])


@patient
@given(_keys, _keys)
@example(1, True)
@example((1, (2.0,)), (1.0, (2,)))
@example("a", Word.A)
@example(0.0, -0.0)
@example(2**53, float(2**53 + 1))
@example(2**53 + 1, float(2**53 + 1))
@example(10**400, decimal.Decimal(10**400))
@example(Place(1, 1.0), Spot(1, 1.0))
@example(Pair(1, 2), (1, 2))
@example(complex(1, 0), 1)
@example(fractions.Fraction(1, 2), 0.5)
@example(decimal.Decimal("0.1"), 0.1)
@example(decimal.Decimal("0.1"), fractions.Fraction(1, 10))
@example(datetime.datetime(2020, 1, 1), datetime.date(2020, 1, 1))
@example(b"a", "a")
def test_equal_keys_have_equal_bytes_and_no_others(a: object, b: object) -> None:
    assert (encode(a) == encode(b)) == (a == b)


@patient
@given(_keys)
def test_a_key_comes_back_as_it_was(key: object) -> None:
    found = back(key)
    assert type(found) is type(key)
    assert found == key
    assert repr(found) == repr(key) or isinstance(key, (frozenset, tuple))  # sets have no order


_ordered = st.one_of(
    *(
        st.tuples(kind, kind)
        for kind in (
            st.one_of(st.booleans(), _ints, _floats),
            _texts,
            _bytes,
            st.lists(_numbers.filter(lambda n: not isinstance(n, (decimal.Decimal, fractions.Fraction)))).map(tuple),
            st.lists(_texts, max_size=3).map(tuple),
            st.tuples(_texts, _ints),
        )
    )
)


@patient
@given(_ordered)
@example((2**53 + 1, float(2**53)))
@example((float("-inf"), -(10**400)))
@example(("a", "a\0"))
@example((("a",), ("a", "")))
@example((("a\0",), ("a", "")))
@example(((1, 2), (1,)))
def test_bytes_have_the_order_of_the_keys(pair: tuple[object, object]) -> None:
    a, b = pair
    assert (encode(a) < encode(b)) == (a < b)  # type: ignore[operator]


@patient
@given(st.lists(_keys, min_size=1, max_size=4), st.lists(_keys, min_size=1, max_size=4))
def test_no_key_begins_with_another(a: list[object], b: list[object]) -> None:
    """Else the elements of tuples could be split in two ways."""
    joined = [b"".join(map(encode, keys)) for keys in (a, b)]
    assert (joined[0] == joined[1]) == (a == b)


@given(st.binary(), st.sampled_from([b"", b"b", b"f", b"x"]))
def test_damaged_bytes_are_an_error(data: bytes, hint: bytes) -> None:
    try:
        key = _decode_key(data, hint)
    except (OSError, KeyEncodingError, OverflowError, ValueError, TypeError):
        return
    assert isinstance(key, object)


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        (float("nan"), "NaN"),
        ((1, float("nan")), "NaN"),
        (decimal.Decimal("nan"), "NaN"),
        ([1], "tuple"),
        (("a", [1]), "tuple"),
        ({1}, "frozenset"),
        ({1: 2}, "tuple(sorted("),
        (bytearray(b"x"), "bytes"),
        (Changing(1), "frozen=True"),
        (Shouting("A"), "Shouting"),
        (object(), "object"),
        (decimal.Decimal("1e999999999"), "str(key)"),
    ],
)
def test_what_has_no_encoding_says_what_to_do(key: object, advice: str) -> None:
    with pytest.raises(KeyEncodingError) as raised:
        encode(key)
    assert advice in str(raised.value)


def test_a_key_that_is_nested_without_end_is_refused() -> None:
    key: object = ()
    for _ in range(10_000):
        key = (key,)
    with pytest.raises(KeyEncodingError, match="nested"):
        encode(key)


def test_the_encoding_does_not_depend_on_the_process_or_the_object() -> None:
    for key in (("a", 1), frozenset({"x", "y", 3}), uuid.UUID(int=7), Colour.BLUE):
        assert encode(pickle.loads(pickle.dumps(key))) == encode(key)
    assert encode("a").hex() == "286100"
    assert encode((1, None)).hex() == "3013800005" + "00"


def test_numpy_scalars_are_the_numbers_and_strings_they_equal() -> None:
    for scalar, plain in [
        (numpy.int64(3), 3),
        (numpy.float64(1.5), 1.5),
        (numpy.str_("x"), "x"),
        (numpy.bool_(True), 1),
    ]:
        assert encode(scalar) == encode(plain)
        assert type(back(scalar)) is type(scalar)
