"""Values in order within their key: in whatever partition it is, and also when there are more than fit into memory."""

import random
from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest

import mapreduce
from mapreduce import InvalidArgumentError, JobFailedError

PAIRS = [(f"key {n * n % 17}", random.Random(n).choice([n, -n, n / 3, n % 5, float(n % 5)])) for n in range(2000)]


def sorted_groups(pairs):
    """What a job must give whose result is the list of values."""
    groups = {}
    for key, value in sorted(pairs, key=lambda pair: pair[1]):
        groups.setdefault(key, []).append(value)
    return sorted(groups.items())


def as_list(values):
    return list(values)


def pass_on(data):
    return data


@pytest.mark.parametrize("values", ["list", "iterator"])
@pytest.mark.parametrize(
    "options",
    [
        {"n_partitions": 1, "split_records": 5000},
        {"n_partitions": 7, "split_records": 150},
        {"n_partitions": 3, "split_records": 150, "sort": True},
        {"n_partitions": 4, "split_records": 700, "partition_func": lambda key, n: len(key) % n},
    ],
    ids=["one", "many", "sorted", "partitioner"],
)
def test_values_come_in_order(cluster, values, options):
    result = cluster.mapreduce(PAIRS, pass_on, as_list, values=values, sort_values=True, **options).result()
    assert repr(result) == repr(sorted_groups(PAIRS))  # as text, since 1 == 1.0


def test_without_it_they_come_in_the_order_of_the_data(cluster):
    (result,) = cluster.mapreduce([3, 1, 2], lambda data: [("all", n) for n in data], as_list).result()
    assert result == ("all", [3, 1, 2])


def test_values_of_all_kinds_come_in_the_order_of_keys(cluster):
    ordered = [
        *[None, float("-inf"), -(2**80), -1.5, False, 0.5, 1, 1.0, True, 2**80, float("inf")],
        *[b"", b"\0", b"\0\0", b"a", "", "\0", "\0\0", "a", "a\0", "b", "\U0001f40d"],
        *[(), (None,), (1, "a"), (1, "b"), (1, "b", 0), (2,), ("a", (1, (2, b"")))],
        *[date(2024, 2, 29), date(2024, 3, 1)],
    ]
    equal = [1, 1.0, True]
    shuffled = [value for value in ordered if value not in equal]
    random.Random(7).shuffle(shuffled)
    # The keys begin alike, as their values do.
    keys = ["", "\0", "\0\0", b"", b"\0", (), ((),)]

    def map_func(data):
        return [(key, value) for value in data for key in keys]

    options = {"split_records": 4, "n_partitions": 3}
    job = cluster.mapreduce([*shuffled, *equal], map_func, as_list, sort_values=True, **options)
    result = dict(job.result())
    assert set(result) == set(keys)
    for key in keys:
        assert repr(result[key]) == repr(ordered)


def test_of_keys_that_are_equal_the_one_with_the_smallest_value_is_shown(cluster):
    pairs = [(1, "c"), (True, "a"), (1.0, "b")]
    assert repr(cluster.mapreduce(pairs, pass_on, as_list, sort_values=True).result()) == "[(True, ['a', 'b', 'c'])]"


def test_output_files_and_several_inputs(cluster, tmp_path):
    def reduce_func(values: Iterator[tuple[int, str]]) -> str:
        return " ".join(text for _, text in values)

    files = cluster.mapreduce(
        [["b 2", "a 1"], ["a 0", "b 1"]],
        [
            lambda lines: [(line[0], (int(line[2]), "left")) for line in lines],
            lambda lines: [(line[0], (int(line[2]), "right")) for line in lines],
        ],
        reduce_func,
        sort_values=True,
        n_partitions=1,
        output=mapreduce.write_text(tmp_path / "out"),
    ).result()
    assert [Path(file).read_text() for file in files] == ["a\tright left\nb\tright left\n"]


def test_a_group_that_exceeds_memory_is_streamed_in_order(new_cluster):
    """A process may take 200 MiB, of which 25 MiB are for buffers: these pairs take twice that in each map task."""
    cluster = new_cluster(n_workers=2, memory_bytes_max=200 << 20)
    n, per_record = 1_600_000, 100_000

    def map_func(data):
        for start in data:
            for number in range(start, start + per_record):
                yield "all", number * 1_234_577 % n  # every number once: they have no common divisor

    def reduce_func(values: Iterator[int]) -> int:
        for expected, value in enumerate(values):
            if value != expected:
                raise ValueError(f"{value} where {expected} should be")
        return expected + 1

    options = {"split_records": 8, "batch_size": 1, "sort_values": True}
    assert cluster.mapreduce(range(0, n, per_record), map_func, reduce_func, **options).result() == [("all", n)]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([1, 2], r"the value \[1, 2\] of type list.*tuple"),
        ((1, {"a": 1}), r"of type tuple.*\{'a': 1\} of type dict"),
        (float("nan"), "the value nan of type float.*NaN"),
        (Fraction(1, 3), "of type Fraction.*float"),
        (("a", frozenset([1])), "of type tuple.*sets have no order"),
        (1j, "of type complex.*no order"),
        (object(), "of type object"),
    ],
    ids=["list", "dict", "nan", "fraction", "set", "complex", "object"],
)
def test_a_value_without_an_order_is_told_with_its_record(cluster, value, why):
    def map_func(data):
        return [("key", value if n == 7 else n) for n in data]

    with pytest.raises(JobFailedError, match=why) as raised:
        cluster.mapreduce(range(10), map_func, as_list, sort_values=True).result()
    assert (raised.value.kind, raised.value.record) == ("bad_value", "7")
    assert "sort_values=True" in str(raised.value)


def test_what_it_does_not_go_with_is_told_at_once(cluster):
    with pytest.raises(InvalidArgumentError, match="either sort_values or combine_func"):
        cluster.mapreduce(PAIRS, pass_on, sum, combine_func=sum, sort_values=True)
    with pytest.raises(InvalidArgumentError, match="sort_values must be True or False"):
        cluster.mapreduce(PAIRS, pass_on, sum, sort_values=1)
