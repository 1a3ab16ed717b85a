"""Data that does not fit into memory, combiners, and values as an iterator: all give what a plain loop gives."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from helpers import reference

import mapreduce
from mapreduce import InvalidArgumentError, JobFailedError, UserCodeError

WORDS = [f"{word} {n % 7}" for n, word in enumerate(["to", "be", "or", "not", "to", "be"] * 500)]


def count(data):
    return [(word, 1) for line in data for word in line.split()]


def test_a_combiner_changes_nothing_but_the_way(cluster):
    plain = cluster.mapreduce(WORDS, count, sum).result()
    assert plain == reference(WORDS, count, sum)
    combined = cluster.mapreduce(WORDS, count, sum, combine_func=sum)
    assert combined.result() == plain


def test_a_combiner_may_make_another_value_than_the_result(cluster):
    def map_func(data):
        return [(number % 5, (number, 1)) for number in data]

    def combine(values):
        return (sum(total for total, _ in values), sum(n for _, n in values))

    def mean(values):
        total, n = combine(values)
        return total / n

    numbers = range(1000)
    result = cluster.mapreduce(numbers, map_func, mean, combine_func=combine).result()
    assert result == reference(numbers, map_func, mean)


def test_values_keep_their_order_when_most_keys_are_new(cluster):
    """A key that is known comes as the same object and as an equal one, among keys that are piled up."""

    def map_func(data):
        hot = "hot"
        for n in data:
            for i in range(n):
                yield f"key {i}", i
                if i % 8 == 0:
                    yield hot, i
                    yield "".join(["h", "ot"]), i + 1

    result = cluster.mapreduce([30_000], map_func, list).result()
    assert dict(result)["hot"] == [value for i in range(0, 30_000, 8) for value in (i, i + 1)]


@pytest.mark.parametrize("partition_func", [None, lambda key, n: len(key) % n])
def test_keys_that_others_hold_are_counted_like_others(cluster, partition_func):
    """First each comes as an object of its own, so often that no more of them are remembered; then some come again."""

    def map_func(lines):
        words = [word for line in lines for word in line.split()]
        return zip(itertools.chain(words[:50] * 20, words, words[:100] * 200), itertools.cycle([1, 1, 2]))

    lines = [" ".join(f"{n % 15_000}" * (1 + n % 4) for n in range(40_000))]
    result = cluster.mapreduce(lines, map_func, sum, n_partitions=3, partition_func=partition_func).result()
    assert sorted(result) == sorted(reference(lines, map_func, sum))


def test_texts_of_all_lengths_and_kinds_are_keys(cluster):
    """Each as fresh objects, which only their pairs hold, and once as one whose UTF-8 was asked for before."""

    def map_func(data):
        for last in data:
            for n in range(40):
                for text in ["x" * n + last, last * n, "y" * n, last + "\0" * n, "\0" * n + last]:
                    yield "".join([text[: n // 2], text[n // 2 :]]), 1
                    yield text.encode().decode(), 2
                    yield text, text.isidentifier() + len(f"{text!a}") + len(text.encode())

    lasts = ["", "a", "\x7f", "\x80", "\xff", "\u1234", "\U0001f600", "\0"]
    result = cluster.mapreduce(lasts * 3, map_func, sum).result()
    assert result == reference(lasts * 3, map_func, sum)


@pytest.mark.parametrize("lazily", [False, True])
def test_values_keep_their_order_however_they_are_taken(cluster, lazily):
    """Keys that are the same object, equal ones and no plain ones; pairs that are lists; values that change later."""

    def pairs(data):
        hot = "hot"
        for n in data:
            value = [n]
            yield "".join(["h", "ot"]), n
            yield hot, n + 0.5
            yield True, n
            yield ["".join(["h", "ot"]), value]
            yield 1.0, -n
            yield hot, None
            if lazily:
                value.clear()

    def map_func(data):
        return pairs(data) if lazily else list(pairs(data))

    result = dict(cluster.mapreduce(range(300), map_func, list, split_records=300).result())
    assert result["hot"] == [value for n in range(300) for value in (n, n + 0.5, [n], None)]
    assert result[True] == [value for n in range(300) for value in (n, -n)]


def test_the_first_of_two_bad_pairs_is_told(cluster):
    def partition(key, n):
        if key == "bad":
            raise ValueError("nowhere")
        return 0

    def map_func(data):
        return [("".join(["fi", "ne"]), 1), ("".join(["b", "ad"]), 1), None]

    with pytest.raises(UserCodeError, match="partition_func raised.*nowhere"):
        cluster.mapreduce(["a"], map_func, sum, partition_func=partition).result()


def test_a_list_that_is_no_pair_is_shown_as_it_is(cluster):
    with pytest.raises(UserCodeError, match=r"\[1, 2, 3\], a list"):
        cluster.mapreduce(["a"], lambda data: [[1, 2], [1, 2, 3]], sum).result()


@pytest.mark.parametrize("combine_func", [None, sum])
def test_sum_is_pythons_own(cluster, combine_func):
    """It is computed without Python where that makes no difference."""
    values = [
        [7],
        [7] * 1000,
        [1, -5, 300, -(2**40)],
        [2**62] * 4,
        [2**63 - 1, 1],
        [-(2**63), -1],
        [2**70, -(2**70)],
        [True, True],
        [1, True],
        [1, 2.5],
        [0.1] * 3,
    ]

    def map_func(data):
        return [pair for pairs in data for pair in pairs]

    data = [[(key, value) for value in of_key] for key, of_key in enumerate(values)]
    result = cluster.mapreduce(data, map_func, sum, combine_func=combine_func, split_records=100).result()
    expected = reference(data, map_func, sum)
    assert [(key, type(value), value) for key, value in result] == [(k, type(value), value) for k, value in expected]


def test_a_combiner_that_raises_is_named_with_the_key(cluster):
    def combine(values):
        raise ValueError("no")

    with pytest.raises(JobFailedError, match="combine_func raised") as raised:
        cluster.mapreduce(["a a"], count, sum, combine_func=combine).result()
    assert raised.value.record == "'a'"
    assert isinstance(raised.value.__cause__, ValueError)


def annotated(values: Iterator[int]) -> int:
    return sum(next(values) for _ in range(1)) + sum(values)


def annotated_as_text(values: "Iterable[int]") -> int:
    return sum(values)


@pytest.mark.parametrize("reduce_func", [annotated, annotated_as_text])
def test_an_annotation_asks_for_an_iterator(cluster, reduce_func):
    def checked(values: Iterable[int]) -> int:
        assert iter(values) is values
        return reduce_func(values)

    assert cluster.mapreduce(WORDS, count, checked).result() == reference(WORDS, count, sum)


def test_values_asks_for_an_iterator_or_a_list(cluster):
    def kind(values):
        return type(values).__name__

    as_iterator = cluster.mapreduce(["a"], count, kind, values="iterator").result()
    as_list = cluster.mapreduce(["a"], count, kind, values="list").result()
    assert [as_iterator, as_list] == [[("a", "ValueIterator")], [("a", "list")]]
    with pytest.raises(InvalidArgumentError, match="values must be 'list' or 'iterator'"):
        cluster.mapreduce(["a"], count, kind, values="tuple")


def test_an_iterator_need_not_be_read_to_its_end(cluster):
    first = cluster.mapreduce(WORDS, lambda data: [(1, line) for line in data], next, values="iterator").result()
    assert first == [(1, WORDS[0])]


def test_an_iterator_can_be_read_only_while_the_function_runs(cluster):
    kept = []

    def reduce_func(values):
        kept.append(values)
        return list(kept[0])

    with pytest.raises(JobFailedError, match="only while reduce_func runs"):
        cluster.mapreduce(["a b"], count, reduce_func, values="iterator", n_partitions=1).result()


def test_one_key_with_millions_of_values_passes_through_little_memory(new_cluster):
    """The task's process may take 256 MiB; a list of the values alone would take 160 MB for each of two tasks."""
    cluster = new_cluster(n_workers=2, memory_bytes_max=256 << 20)
    n, per_record = 20_000_000, 100_000

    def map_func(data):
        for start in data:
            for number in range(start, start + per_record):
                yield "all", number

    def reduce_func(values: Iterator[int]) -> int:
        return sum(values)

    result = cluster.mapreduce(range(0, n, per_record), map_func, reduce_func, split_records=50).result()
    assert result == [("all", n * (n - 1) // 2)]


def test_many_distinct_keys_in_one_task_are_spilled(new_cluster):
    cluster = new_cluster(n_workers=1, memory_bytes_max=200 << 20)

    def map_func(data):
        for start in data:
            for number in range(start, start + 100_000):
                yield f"key {number}", number

    starts = range(0, 2_000_000, 100_000)
    future = cluster.mapreduce(
        starts, map_func, lambda values: values[0], split_records=20, n_partitions=2, batch_size=1
    )
    result = future.result()
    assert len(result) == 2_000_000
    assert result[:2] == [("key 0", 0), ("key 1", 1)]
    assert sum(value for _, value in result) == sum(range(2_000_000))


def test_one_record_may_become_any_number_of_pairs(new_cluster):
    cluster = new_cluster(n_workers=1, memory_bytes_max=200 << 20)

    def map_func(data):
        for n in data:
            for number in range(n):
                yield f"key {number}", number

    result = cluster.mapreduce([1_500_000], map_func, lambda values: values[0], n_partitions=1).result()
    assert len(result) == 1_500_000
    assert sum(value for _, value in result) == sum(range(1_500_000))


@pytest.mark.parametrize("options", [{"batch_size": 1}, {}])
def test_a_combiner_that_fails_in_the_middle_of_a_task_is_no_fault_of_a_record(new_cluster, tmp_path, options):
    """The buffers of 16 MiB are full long before all is mapped."""
    cluster = new_cluster(n_workers=1, memory_bytes_max=128 << 20)

    def map_func(data):
        for n in data:
            with open(tmp_path / "mapped", "a") as file:
                file.write(f"{n}\n")
            yield from (("key", b"%5d" % (100 * n + i) * 4096) for i in range(100))

    def combine_func(values):
        raise ValueError("not these")

    future = cluster.mapreduce(range(200), map_func, len, combine_func=combine_func, split_records=200, **options)
    with pytest.raises(UserCodeError, match="^combine_func raised: ValueError") as raised:
        future.result()
    assert raised.value.record == "'key'"
    mapped = (tmp_path / "mapped").read_text().splitlines()
    assert 0 < len(mapped) == len(set(mapped)) < 200


def joined(lists):
    return [number for numbers in lists for number in numbers]


@pytest.mark.parametrize("options", [{}, {"combine_func": joined}, {"n_partitions": 3}, {"sort": True}])
def test_keys_that_are_mostly_new_are_grouped_like_others(cluster, options):
    """Enough of them that the engine gives up looking for their groups; some come again, as other types, too."""

    def map_func(data):
        for n in data:
            yield n, [n]
            yield float(n), [n + 1]
            if n % 3 == 0:
                yield f"text {n % 9000}", [n]

    numbers = range(60_000)
    result = cluster.mapreduce(numbers, map_func, joined, split_records=30_000, **options).result()
    assert dict(result) == dict(reference(numbers, map_func, joined))
    assert all(type(key) in (int, str) for key, _ in result)


def test_sort_puts_the_files_of_an_output_in_order(cluster, tmp_path):
    numbers = [(n * 7919) % 100_003 for n in range(20_000)]
    (tmp_path / "in.txt").write_text("".join(f"{n}\n" for n in numbers))
    files = cluster.mapreduce(
        mapreduce.read_text(tmp_path / "in.txt", split_bytes=20_000),
        lambda lines: [(int(line), None) for line in lines],
        lambda values: None,
        sort=True,
        n_partitions=4,
        output=mapreduce.write_text(tmp_path / "out"),
    ).result()
    parts = [[int(line) for line in Path(file).read_text().splitlines()] for file in files]
    assert [n for part in parts for n in part] == sorted(numbers)
    assert len(parts) == 4
    assert min(map(len, parts)) > 1000


def test_sort_of_few_keys_and_of_no_records(cluster):
    assert cluster.mapreduce(["b", "a", "b"], count, sum, sort=True, n_partitions=3).result() == [("a", 1), ("b", 2)]
    assert cluster.mapreduce([], count, sum, sort=True, n_partitions=3).result() == []


def test_what_fails_in_the_sample_for_sort_is_what_the_job_would_raise(cluster, tmp_path):
    class Odd(Exception):
        pass

    def map_func(data):
        for n in data:
            if n == 7:
                raise Odd(f"{n} is odd")
            yield n, 1

    with pytest.raises(UserCodeError, match="map_func raised: .*Odd: 7 is odd") as raised:
        cluster.mapreduce(range(10), map_func, sum, sort=True)
    assert isinstance(raised.value.__cause__, Odd)
    assert (raised.value.record, raised.value.kind) == ("7", "user_exception")
    assert 'raise Odd(f"{n} is odd")' in raised.value.traceback
    assert raised.value.job is not None

    (tmp_path / "bytes.txt").write_bytes(b"a\n\xff\n")
    with pytest.raises(JobFailedError, match="bytes.txt") as raised:
        cluster.mapreduce(mapreduce.read_text(tmp_path / "bytes.txt"), count, sum, sort=True)
    assert raised.value.kind == "bad_data"
    with pytest.raises(InvalidArgumentError, match="either sort or partition_func"):
        cluster.mapreduce(["a"], count, sum, sort=True, partition_func=len)


def test_a_partitioner_decides_which_file_a_key_is_in(cluster, tmp_path):
    output = mapreduce.write_text(tmp_path / "out")
    files = cluster.mapreduce(
        WORDS, count, sum, output=output, n_partitions=2, partition_func=lambda key, n: int(key.isalpha())
    ).result()
    keys = [[line.split("\t")[0] for line in Path(file).read_text().splitlines()] for file in files]
    assert keys == [[str(n) for n in range(7)], ["be", "not", "or", "to"]]
    with pytest.raises(JobFailedError, match="partition_func returned 2, which is none of 0 to 1"):
        cluster.mapreduce(WORDS, count, sum, n_partitions=2, partition_func=lambda key, n: n).result()


def test_a_job_reads_the_result_of_an_earlier_one(cluster):
    counts = cluster.mapreduce(WORDS, count, sum, n_partitions=3)
    by_count = cluster.mapreduce(
        mapreduce.read_result(counts), lambda pairs: [(n, word) for word, n in pairs], sorted, n_partitions=1
    )
    expected = {}
    for word, n in reference(WORDS, count, sum):
        expected.setdefault(n, []).append(word)
    assert by_count.result() == sorted((n, sorted(words)) for n, words in expected.items())
    assert by_count.progress().map_total == 3


def test_a_result_that_is_read_is_not_cleared(new_cluster):
    cluster = new_cluster(n_workers=1)
    first = cluster.mapreduce(WORDS, count, sum)
    first.result()
    cluster.scale(n_workers=0)
    second = cluster.mapreduce(mapreduce.read_result(first), lambda pairs: pairs, sum)
    assert cluster.clear() == []
    cluster.scale(n_workers=1)
    assert second.result() == first.result()
    assert sorted(cluster.clear()) == sorted([first.job_id, second.job_id])


def test_counters_are_exact_although_tasks_are_tried_again(cluster, tmp_path):
    def map_func(data):
        for word in data:
            mapreduce.counters.increment("words")
            mapreduce.counters.increment("letters", len(word))
            yield word, 1
        if not (marker := tmp_path / f"{data[0]}").exists():
            marker.touch()
            raise ValueError("the first attempt fails, after it has counted")

    def reduce_func(values):
        mapreduce.counters.increment("groups")
        return sum(values)

    words = ["to", "be", "or", "not"]
    future = cluster.mapreduce(words, map_func, reduce_func, combine_func=sum, retry_exceptions=True)
    assert future.result() == sorted((word, 1) for word in words)
    assert future.counters() == {"groups": 4, "letters": 9, "words": 4}


def test_what_is_no_count_is_told(cluster):
    for arguments, why in [((1,), "name must be a text"), (("n", 0.5), "whole numbers"), (("n", 2**64), "64 bits")]:

        def map_func(data, arguments=arguments):
            mapreduce.counters.increment(*arguments)
            return []

        with pytest.raises(JobFailedError, match=why):
            cluster.mapreduce([1], map_func, sum).result()
